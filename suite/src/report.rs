//! What commands print: one tree of results, as text and as JSON (`migcert/NAME/1`).

use crate::bench::Guests;
use crate::certify::{Cost, Short, Unit, Verdict};
use crate::files::CannotWrite;
use crate::finding::{Finding, Outcome};
use crate::honest::{self, Inert, Missing, SelfTest};
use crate::impls;
use crate::isolation::{Known, Needed};
use crate::learned;
use crate::row;
use crate::rule::Level;
use crate::rules;
use crate::shard::Part;
use crate::subject::{Subject, Untouched};
use crate::text::{Lines, Word};
use causes::Causes;
use migcert_core::compat::{self, Reason};
use migcert_core::device::Interface;
use migcert_core::param::{Configuration, Value};
use migcert_core::program::Manifest;
use migcert_core::version::Setup;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

mod asked;
mod causes;
mod excluded;
mod waivers;

pub use asked::Asked;
pub use excluded::Exclusion;
pub use waivers::{Waiver, waivers};

/// A configuration as JSON: values by name, or the version string.
pub fn setup(setup: &Setup) -> Json {
    match setup {
        Setup::Params(configuration) => values(configuration),
        Setup::Version(version) => json!({ "version": version.as_str() }),
    }
}

/// Values by name.
pub fn values(configuration: &Configuration) -> Json {
    let each = configuration.iter().map(|(name, v)| (name.to_string(), value(v)));
    Json::Object(each.collect())
}

fn value(value: &Value) -> Json {
    match value {
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!(n),
        Value::Str(s) => json!(s),
    }
}

/// A reason as JSON.
pub fn reason(reason: &Reason) -> Json {
    let mut json = json!({ "id": reason.info().id, "requirement": reason.requirement() });
    if let Some(name) = reason.parameter() {
        json["parameter"] = json!(name.as_str());
    }
    if let Some(v) = reason.value() {
        json["value"] = value(v);
    }
    if let Reason::OffValueDiffers { there, .. } = reason {
        json["there"] = value(there);
    }
    json["message"] = json!(reason.to_string());
    json
}

/// What a report says of an implementation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// IMPL.
    pub name: String,
    /// Of the file behind it.
    pub sha256: Option<String>,
    /// Its description.
    pub manifest: Manifest,
    /// Rules and requirements that are not held against it, each with the reason.
    pub waive: BTreeMap<String, String>,
    /// Places that its guest leaves alone.
    pub never: Vec<Untouched>,
    /// Bytes of registers that its guest may touch; 0 where nobody asked.
    pub reachable: u64,
    /// Its models on which no guest has influence.
    pub inert: Vec<Inert>,
    /// What is behind it after the run, if that is another file: its SHA-256, or why it can't be read.
    pub changed: Option<String>,
    /// What is known of how instances are kept apart; `None` where they run in this process.
    pub isolation: Option<Known>,
    /// What of it is volatile; all that is known after the rules were tried.
    pub learned: learned::Report,
}

impl Tested {
    /// A subject before rules are tried on it. Whether guests have influence on it is tried until then.
    pub fn of(subject: &Subject, until: Option<Instant>) -> Tested {
        Tested {
            name: subject.name.clone(),
            sha256: subject.sha256.clone(),
            manifest: subject.manifest.clone(),
            waive: subject.waive.clone(),
            never: subject.never.clone(),
            reachable: if subject.never.is_empty() { 0 } else { reachable(subject) },
            inert: honest::inert(subject, until),
            changed: None,
            isolation: subject.isolation.clone(),
            learned: subject.learned.report(),
        }
    }

    /// What it does not start without, although its profile does not share it.
    pub fn needed(&self) -> Option<Needed> {
        self.isolation.as_ref()?.so_far()?.needed
    }

    /// Adds what is known of it after rules were tried.
    pub fn after(&mut self, subject: &Subject) {
        self.changed = impls::changed(subject);
        self.learned = subject.learned.report();
    }
}

/// Bytes of registers that a guest of the first model may touch.
fn reachable(subject: &Subject) -> u64 {
    let interface = subject.manifest.models.iter().next();
    let interface = interface.and_then(|(id, model)| subject.interface(id, &model.latest()).ok());
    match interface {
        Some(Interface::Windows(windows)) => windows
            .windows
            .iter()
            .filter(|window| window.size == 1)
            .map(|window| u64::from(window.count))
            .sum(),
        Some(Interface::Registers(registers)) => {
            registers.iter().map(|register| u64::from(register.size) * u64::from(register.count)).sum()
        }
        Some(Interface::Requests(_)) | None => 0,
    }
}

/// Before each line of a case that is in no file.
pub const QUOTED: &str = "  | ";

/// Where the case of a finding is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseFile {
    /// In the file of this name.
    Written(String),
    /// Nowhere else: reports have it in full.
    Unwritten {
        /// The case.
        case: String,
        /// Why there is no file.
        why: String,
    },
}

impl CaseFile {
    /// What writing a case came to.
    pub fn of(written: Result<PathBuf, CannotWrite>, case: String) -> CaseFile {
        match written {
            Ok(path) => CaseFile::Written(path.display().to_string()),
            Err(why) => CaseFile::Unwritten { case, why: why.to_string() },
        }
    }

    /// The file, or else the case itself and why it has none, as members of a JSON object.
    pub fn put(&self, json: &mut Json) {
        match self {
            CaseFile::Written(file) => json["case"] = json!(file),
            CaseFile::Unwritten { case, why } => {
                json["case_text"] = json!(case);
                json["case_error"] = json!(why);
            }
        }
    }

    /// How to see the finding again, with these options.
    fn reproduce(&self, out: &mut Lines, options: &str) {
        match self {
            CaseFile::Written(file) => row!(out, "  reproduce  migcert replay {}{options}", Word(file)),
            CaseFile::Unwritten { case, why } => {
                row!(out, "  reproduce  {why}; this is the case, for `migcert replay FILE.toml{options}`:");
                out.block(QUOTED, case);
            }
        }
    }
}

/// The result of a certification.
pub struct Certificate<'a> {
    /// What it comes to.
    pub verdict: Verdict,
    /// What cases were drawn from.
    pub seed: u64,
    /// What came of testing the rules.
    pub self_test: &'a SelfTest,
    /// The implementations.
    pub subjects: &'a [Tested],
    /// What came of each rule on each pair.
    pub units: &'a [Unit],
    /// Where the case of a finding is, by index of its unit.
    pub files: BTreeMap<usize, CaseFile>,
    /// What it is a part of.
    pub part: Option<&'a Part>,
    /// What was asked for.
    pub asked: &'a Asked,
    /// What a case costs, where it was measured.
    pub cost: Option<Cost>,
    /// What became of the waivers of all subjects.
    pub waivers: &'a [Waiver],
}

impl Certificate<'_> {
    /// Cases that were judged, and all that were begun.
    pub fn counts(&self) -> (u64, u64) {
        let sum = |count: fn(&Unit) -> u32| self.units.iter().map(|unit| u64::from(count(unit))).sum();
        (sum(|unit| unit.judged), sum(|unit| unit.begun))
    }

    /// What guests did at the instances of a subject, in all cases that count.
    fn guests(&self, subject: usize) -> Guests {
        let mut all = Guests::default();
        for Unit { pair: (source, destination), counted, .. } in self.units {
            if *source == subject {
                all.add(&counted.source);
            }
            if *destination == subject {
                all.add(&counted.destination);
            }
        }
        all
    }

    /// As JSON: `migcert/certify/1`.
    pub fn json(&self) -> Json {
        let (executed, total) = self.counts();
        let subject = |(at, subject): (usize, &Tested)| {
            let Guests { steps, refused, .. } = self.guests(at);
            let mut json = json!({ "impl": subject.name, "steps": steps, "refused_steps": refused });
            if let Some(sha256) = &subject.sha256 {
                json["sha256"] = json!(sha256);
            }
            if let Some(now) = &subject.changed {
                json["changed"] = json!(now);
            }
            if subject.inert.iter().any(|inert| !matches!(inert.missing, Missing::Untried(_))) {
                json["inert"] = json!(true);
            }
            if let Some(isolation) = subject.isolation.as_ref().and_then(Known::so_far) {
                json["isolation"] = isolation.json();
            }
            if !subject.inert.is_empty() {
                json["influence"] = subject.inert.iter().map(influence).collect();
            }
            json
        };
        let (selected, rules_total) = self.asked.selected();
        let mut json = json!({
            "schema": "migcert/certify/1",
            "migcert": env!("CARGO_PKG_VERSION"),
            "verdict": self.verdict.name(),
            "partial": self.asked.is_partial(),
            "selected": selected,
            "rules_total": rules_total,
            "seed": self.seed,
            "executed": executed,
            "total": total,
            "self_test": self.self_test.json(),
            "subjects": self.subjects.iter().enumerate().map(subject).collect::<Vec<_>>(),
            "rules": self.rules().iter().map(|units| self.rule(units)).collect::<Vec<_>>(),
            "pairs": self.pairs(),
            "excluded": self.excluded().iter().map(Exclusion::json).collect::<Vec<_>>(),
            "waivers": self.waivers.iter().map(Waiver::json).collect::<Vec<_>>(),
            "causes": self.causes().json(),
            "learned": self.subjects.iter().flat_map(|s| s.learned.json(&s.name)).collect::<Vec<_>>(),
        });
        if let Some(cost) = self.cost {
            json["cost"] = json!(cost);
        }
        if let Some(part) = self.part {
            json["part"] = json!(part);
        }
        json
    }

    fn causes(&self) -> Causes<'_> {
        Causes::of(self.units)
    }

    /// The units of each rule, in the order of the rules.
    fn rules(&self) -> Vec<Vec<(usize, &Unit)>> {
        let mut rules: Vec<Vec<(usize, &Unit)>> = Vec::new();
        for (i, unit) in self.units.iter().enumerate() {
            match rules.last_mut() {
                Some(last) if last[0].1.rule.id == unit.rule.id => last.push((i, unit)),
                _ => rules.push(vec![(i, unit)]),
            }
        }
        rules
    }

    fn rule(&self, units: &[(usize, &Unit)]) -> Json {
        let rule = units[0].1.rule;
        let causes = self.causes();
        let findings = units.iter().filter_map(|(i, unit)| {
            let Outcome::Broken(Finding { summary, expected, observed, words, .. }) = &unit.outcome else {
                return None;
            };
            if causes.is_consequence(*i) {
                return None;
            }
            let mut json = json!({ "summary": summary, "expected": expected, "observed": observed });
            json["source"] = json!(self.subjects[unit.pair.0].name);
            json["destination"] = json!(self.subjects[unit.pair.1].name);
            if let Some(file) = self.files.get(i) {
                file.put(&mut json);
            }
            if let Some(bucket) = &unit.bucket {
                json["bucket"] = json!(bucket.id());
            }
            causes.put(*i, &mut json);
            if !words.is_empty() {
                json["words"] = json!(words.marked());
            }
            if unit.known.is_some() {
                json["known"] = json!(true);
            }
            if let Some(why) = &unit.waived {
                json["waived"] = json!(why);
            }
            Some(json)
        });
        let mut json = json!({
            "id": rule.id,
            "requirement": rule.cites,
            "level": rule.level.name(),
            "outcome": worst(units).name(),
            "cases": units.iter().map(|(_, unit)| u64::from(unit.judged)).sum::<u64>(),
            "begun": units.iter().map(|(_, unit)| u64::from(unit.begun)).sum::<u64>(),
            "planned": units.iter().map(|(_, unit)| u64::from(unit.planned)).sum::<u64>(),
            "findings": findings.collect::<Vec<_>>(),
        });
        let behind = causes.behind(units);
        if !behind.is_empty() {
            json["consequence_of"] = json!(behind);
        }
        let flaky = units.iter().filter(|(_, unit)| unit.is_flaky()).filter_map(|(i, _)| self.files.get(i));
        let flaky = flaky.map(|file| match file {
            CaseFile::Written(file) => json!(file),
            CaseFile::Unwritten { .. } => {
                let mut json = json!({});
                file.put(&mut json);
                json
            }
        });
        let flaky: Vec<_> = flaky.collect();
        if !flaky.is_empty() {
            json["flaky"] = json!(flaky);
        }
        if let Outcome::NotApplicable(why) = worst(units) {
            json["why"] = json!(why);
        }
        if let Outcome::Unsettled(why) = worst(units) {
            json["why"] = json!(why);
        }
        json
    }

    /// For every ordered pair: what the check says of the latest configuration, and the outcomes.
    fn pairs(&self) -> Vec<Json> {
        let pairs: std::collections::BTreeSet<_> = self.units.iter().map(|unit| unit.pair).collect();
        let pair = |(from, to): (usize, usize)| {
            let (source, destination) = (&self.subjects[from], &self.subjects[to]);
            let models = source.manifest.models.iter().map(|(id, model)| {
                let latest = model.latest();
                let verdict = compat::check(id, model, &latest, &destination.manifest);
                json!({
                    "model": id.as_str(),
                    "configuration": setup(&latest),
                    "compatible": verdict.is_compatible(),
                    "reasons": verdict.0.iter().map(reason).collect::<Vec<_>>(),
                })
            });
            let units = self.units.iter().filter(|unit| unit.pair == (from, to));
            let mut outcomes = BTreeMap::new();
            units.for_each(|unit| *outcomes.entry(unit.outcome.name()).or_insert(0u32) += 1);
            json!({
                "source": source.name,
                "destination": destination.name,
                "latest": models.collect::<Vec<_>>(),
                "rules": outcomes,
            })
        };
        pairs.into_iter().map(pair).collect()
    }

    /// As text, for people.
    pub fn text(&self, strict: bool) -> Lines {
        let mut out = Lines::default();
        let causes = self.causes();
        let several = 1 < self.subjects.len();
        for subject in self.subjects {
            let hash = subject.sha256.as_ref().map_or_else(String::new, |hash| format!("  sha256 {hash}"));
            let inert =
                subject.inert.first().map_or_else(String::new, |inert| format!("  ({})", inert.missing));
            row!(out, "subject  {}{hash}{inert}", subject.name);
            if let Some(isolation) = subject.isolation.as_ref().and_then(Known::so_far) {
                if let Some(what) = isolation.isolated() {
                    row!(out, "isolated  {what}");
                }
                if let Some(what) = isolation.not_isolated() {
                    row!(out, "not isolated: {what}");
                }
                if let Some(needed) = isolation.needed {
                    row!(
                        out,
                        "incomplete  it does not start without sharing this, and its profile does not say that hosts share it; where they do, write into its profile: \
                         shared = [\"{}\"]",
                        needed.name()
                    );
                }
            }
            if let Some(now) = &subject.changed {
                row!(out, "changed  {} while it was tried: {now}", subject.name);
            }
        }
        row!(out);
        row!(out, "cites   rule                        level  outcome               cases");
        for units in self.rules() {
            let rule = units[0].1.rule;
            let sum =
                |count: fn(&Unit) -> u32| units.iter().map(|(_, unit)| u64::from(count(unit))).sum::<u64>();
            let (cases, planned) = (sum(|unit| unit.judged), sum(|unit| unit.planned));
            let cases = if cases == planned { cases.to_string() } else { format!("{cases} of {planned}") };
            let outcome = worst(&units);
            let why = match outcome {
                Outcome::NotApplicable(why) => format!("  ({why})"),
                Outcome::Unsettled(why) => format!("  ({why})"),
                Outcome::Broken(_) => causes.why(&units),
                Outcome::Held => String::new(),
            };
            let level = rule.level.name();
            let name = outcome.name();
            let wide = 7 - rule.cites.len();
            out.after(
                rule.cites,
                format_args!("{:wide$} {:<27} {level:<6} {name:<14} {cases:>12}{why}", "", rule.id),
            );
        }
        if several {
            row!(out);
            self.pair_table(&mut out);
        }
        for (i, unit) in self.units.iter().enumerate() {
            if !causes.is_consequence(i) {
                self.finding(&mut out, i, unit);
            }
            if unit.is_flaky() {
                self.flaky(&mut out, i, unit);
            }
        }
        for waiver in self.waivers.iter().filter(|waiver| waiver.is_stale) {
            waiver.text(&mut out);
        }
        for subject in self.subjects {
            subject.learned.text(&subject.name, &mut out);
            // What is no program has no profile.
            if subject.sha256.is_some() {
                subject.learned.pins(&mut out);
            }
        }
        Exclusion::section(&self.excluded(), &mut out);
        let (executed, total) = self.counts();
        let count = |name| self.rules().iter().filter(|units| worst(units).name() == name).count();
        causes.text(&mut out);
        row!(out);
        for (at, subject) in self.subjects.iter().enumerate() {
            let Guests { steps, refused, .. } = self.guests(at);
            let name = &subject.name;
            row!(out, "guests     {name} had {steps} steps, of which {refused} were answered with an error");
        }
        if let Some(Cost { case_ms, measured }) = self.cost {
            row!(out, "cost       about {case_ms} ms a case, measured by {measured}");
        }
        row!(out, "self-test  {}", self.self_test.text());
        let (selected, all) = self.asked.selected();
        let partial =
            if selected < all { format!(" (partial: {selected} of {all} rules)") } else { String::new() };
        out.after(
            self.verdict.name(),
            format_args!(
                "{partial}: executed {executed} of {total} cases; rules: {} held, {}, {} not applicable, {} unsettled; seed {:#x}",
                count("held"),
                causes.count(count("broken")),
                count("not-applicable"),
                count("unsettled"),
                self.seed,
            ),
        );
        if self.units.iter().any(|unit| unit.short == Some(Short::Time)) {
            row!(out, "time was short: give more of it with --max-time, or select rules with --only");
        }
        let should =
            |unit: &Unit| unit.rule.level == Level::Should && matches!(unit.outcome, Outcome::Broken(_));
        if !strict && self.verdict != Verdict::Fail && self.units.iter().any(should) {
            row!(out, "broken rules of the level should don't fail it; with --strict they do");
        }
        if let Some(Part { shard, .. }) = self.part {
            row!(out, "this is part {shard}: `migcert merge` tells what all of them come to");
        }
        out
    }

    fn pair_table(&self, out: &mut Lines) {
        for pair in self.pairs() {
            let (source, destination) = (&pair["source"], &pair["destination"]);
            let arrow = format!(
                "{} -> {}",
                source.as_str().unwrap_or_default(),
                destination.as_str().unwrap_or_default()
            );
            let latest = pair["latest"].as_array().cloned().unwrap_or_default();
            let refused =
                latest.iter().flat_map(|model| model["reasons"].as_array().cloned().unwrap_or_default());
            let mut why: Vec<String> =
                refused.map(|why| why["message"].as_str().unwrap_or_default().to_owned()).collect();
            why.sort();
            why.dedup();
            let says = if why.is_empty() {
                "latest configuration migrates".to_owned()
            } else {
                format!("latest configuration is refused early: {}", why.join("; "))
            };
            let count = |name: &str| pair["rules"][name].as_u64().unwrap_or(0);
            row!(
                out,
                "pair  {arrow}: {says}; {} rules held, {} broken, {} not applicable, {} unsettled",
                count("held"),
                count("broken"),
                count("not-applicable"),
                count("unsettled"),
            );
        }
    }

    fn flaky(&self, out: &mut Lines, i: usize, unit: &Unit) {
        let Outcome::Unsettled(why) = &unit.outcome else { return };
        let rule = unit.rule;
        row!(out);
        row!(out, "flaky   {} ({}, {})", rule.id, rule.cites, rule.level.name());
        row!(out, "  found      {why}");
        if let Some(file) = self.files.get(&i) {
            file.reproduce(out, " --times 20");
        }
    }

    fn finding(&self, out: &mut Lines, i: usize, unit: &Unit) {
        let Outcome::Broken(finding) = &unit.outcome else { return };
        let Finding { summary, expected, observed, words, .. } = finding;
        let several = 1 < self.subjects.len();
        let rule = unit.rule;
        row!(out);
        row!(out, "broken  {} ({}, {})", rule.id, rule.cites, rule.level.name());
        if several {
            let (from, to) = (&self.subjects[unit.pair.0].name, &self.subjects[unit.pair.1].name);
            row!(out, "  pair       {from} -> {to}");
        }
        if let Some(why) = &unit.waived {
            row!(out, "  waived     {why}");
        }
        if unit.known.is_some() {
            row!(out, "  known      it fails nothing");
        }
        row!(out, "  promise    {}", rule.promise);
        row!(out, "  found      {summary}");
        row!(out, "  expected   {}", clipped(expected));
        row!(out, "  observed   {}", clipped(observed));
        for line in words.lines() {
            match line.is_during {
                true => row!(out, "  meanwhile  {}", line.text),
                false => row!(out, "  printed    {}", line.text),
            }
        }
        row!(out, "  advice     {}", rules::advice(rule, finding));
        if let Some(bucket) = &unit.bucket {
            row!(out, "  bucket     {}", bucket.id());
        }
        row!(out, "  explain    migcert explain {}", rule.id);
        if let Some(file) = self.files.get(&i) {
            file.reproduce(out, "");
        }
    }
}

/// What an experiment says of a guest's influence on a model.
fn influence(inert: &Inert) -> Json {
    let mut json = json!({ "model": inert.model });
    match &inert.missing {
        Missing::AfterMigration => (json["before"], json["after"]) = (json!(true), json!(false)),
        Missing::Everywhere => json["before"] = json!(false),
        Missing::Untried(_) => {}
    }
    json["why"] = json!(inert.missing.to_string());
    json
}

/// Long values are cut in text; JSON and cases have all of them.
fn clipped(text: &str) -> String {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

/// Broken outweighs unsettled, unsettled outweighs held, held outweighs not applicable.
fn worst<'a>(units: &[(usize, &'a Unit)]) -> &'a Outcome {
    let weight = |outcome: &Outcome| match outcome {
        Outcome::Broken(_) => 0,
        Outcome::Unsettled(_) => 1,
        Outcome::Held => 2,
        Outcome::NotApplicable(_) => 3,
    };
    units
        .iter()
        .map(|(_, unit)| &unit.outcome)
        .min_by_key(|outcome| weight(outcome))
        .unwrap_or(&Outcome::Held)
}
