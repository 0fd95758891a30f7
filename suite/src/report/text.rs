//! The certificate as text, for people.

mod left_out;

use crate::certificate::{
    CaseFile, CauseReport, Certificate, Cost, Exclusion, FindingReport, FlakyReport, OutcomeName, PairReport,
    Reused, RuleReport, SelfTest, Short, SubjectReport, Verdict,
};
use crate::deadline;
use crate::row;
use crate::rule::{Level, Rule};
use crate::text::{Lines, Word};
use std::collections::BTreeSet;

/// Prefix of each line of a case that could not be written to a file.
pub const QUOTED: &str = "  | ";

/// A certificate as text.
pub fn text(certificate: &Certificate) -> Lines {
    let mut out = Lines::default();
    certificate.subjects.iter().for_each(|report| subject(&mut out, report));
    row!(out);
    row!(out, "cites   rule                        level  outcome               cases");
    certificate.rules.iter().for_each(|report| rule(&mut out, report, &certificate.causes));
    let several = 1 < certificate.subjects.len();
    if several {
        row!(out);
        certificate.pairs.iter().for_each(|report| pair(&mut out, report));
    }
    for report in &certificate.rules {
        report.findings.iter().for_each(|found| finding(&mut out, report.rule, found, several));
        report.flaky_findings.iter().for_each(|found| flaky(&mut out, report.rule, found));
    }
    certificate
        .waivers
        .iter()
        .filter(|waiver| waiver.is_stale)
        .for_each(|waiver| left_out::stale(&mut out, waiver));
    for subject in &certificate.subjects {
        let places = certificate.learned.iter().filter(|place| place.subject == subject.name);
        left_out::learned(&mut out, subject, &places.collect::<Vec<_>>());
    }
    left_out::excluded(&mut out, &certificate.excluded);
    if certificate.causes.iter().any(|cause| !cause.consequences.is_empty()) {
        row!(out);
        certificate.causes.iter().for_each(|report| cause(&mut out, report));
    }
    row!(out);
    for SubjectReport { name, steps, refused_steps, .. } in &certificate.subjects {
        row!(
            out,
            "guests     {name} had {steps} steps, of which {refused_steps} were answered with an error"
        );
    }
    for SubjectReport { name, reused, .. } in &certificate.subjects {
        let Some(Reused { cases, both, differs }) = reused else { continue };
        row!(
            out,
            "reused     {name}: {cases} cases were tried on reset instances, {both} of them on new ones, too"
        );
        if let Some(differs) = differs {
            row!(out, "  ended      a reset instance is not as a new one: {differs}");
        }
    }
    if let Some(Cost { case_ms, measured }) = certificate.cost {
        row!(out, "cost       about {case_ms} ms a case, measured by {measured}");
    }
    row!(out, "self-test  {}", self_test(&certificate.self_test));
    verdict(&mut out, certificate);
    out
}

fn subject(out: &mut Lines, subject: &SubjectReport) {
    let hash = subject.sha256.as_ref().map_or_else(String::new, |hash| format!("  sha256 {hash}"));
    let inert = subject.influence.first().map_or_else(String::new, |inert| format!("  ({})", inert.why));
    row!(out, "subject  {}{hash}{inert}", subject.name);
    if let Some(isolation) = &subject.isolation {
        if let Some(what) = isolation.apart() {
            row!(out, "isolated  {what}");
        }
        if let Some(what) = isolation.in_common() {
            row!(out, "not isolated: {what}");
        }
        if let Some(needed) = isolation.needed {
            row!(
                out,
                "incomplete  it does not start unless this is shared, and its profile does not share it; if hosts share it, add to its profile: \
                 shared = [\"{}\"]",
                needed.name()
            );
        }
    }
    if let Some(now) = &subject.changed {
        row!(out, "changed  {} while it was tried: {now}", subject.name);
    }
}

fn rule(out: &mut Lines, report: &RuleReport, causes: &[CauseReport]) {
    let &RuleReport { rule, cases, planned, level, outcome, .. } = report;
    let cases = if cases == planned { cases.to_string() } else { format!("{cases} of {planned}") };
    let accused = || {
        let first = report.consequence_of.first().filter(|_| report.findings.is_empty())?;
        causes.iter().find(|cause| cause.id == *first)
    };
    let why = match (&report.why, outcome) {
        (Some(why), _) => format!("  ({why})"),
        (None, OutcomeName::Broken) => {
            accused().map_or_else(String::new, |cause| format!("  (consequence of {})", cause.rule))
        }
        (None, _) => String::new(),
    };
    let (level, name) = (level.name(), outcome.name());
    let wide = 7 - rule.cites.len();
    out.after(
        rule.cites,
        format_args!("{:wide$} {:<27} {level:<6} {name:<14} {cases:>12}{why}", "", rule.id),
    );
}

fn pair(out: &mut Lines, pair: &PairReport) {
    let reasons = pair.latest.iter().flat_map(|model| &model.reasons);
    let why: BTreeSet<&str> = reasons.map(|reason| reason.message.as_str()).collect();
    let says = if why.is_empty() {
        "latest configuration migrates".to_owned()
    } else {
        let why: Vec<_> = why.into_iter().collect();
        format!("latest configuration is refused early: {}", why.join("; "))
    };
    let count = |outcome: OutcomeName| pair.rules.get(outcome.name()).copied().unwrap_or(0);
    row!(
        out,
        "pair  {} -> {}: {says}; {} rules held, {} broken, {} not applicable, {} unsettled",
        pair.source,
        pair.destination,
        count(OutcomeName::Held),
        count(OutcomeName::Broken),
        count(OutcomeName::NotApplicable),
        count(OutcomeName::Unsettled),
    );
}

fn finding(out: &mut Lines, rule: &Rule, finding: &FindingReport, several: bool) {
    row!(out);
    row!(out, "broken  {} ({}, {})", rule.id, rule.cites, rule.level.name());
    if several {
        row!(out, "  pair       {} -> {}", finding.source, finding.destination);
    }
    if let Some(why) = &finding.waived {
        row!(out, "  waived     {why}");
    }
    if finding.known {
        row!(out, "  known      not counted");
    }
    row!(out, "  promise    {}", rule.promise);
    row!(out, "  found      {}", finding.summary);
    row!(out, "  expected   {}", clipped(&finding.expected));
    row!(out, "  observed   {}", clipped(&finding.observed));
    for line in finding.words.lines() {
        match line.is_during {
            true => row!(out, "  meanwhile  {}", line.text),
            false => row!(out, "  printed    {}", line.text),
        }
    }
    row!(out, "  advice     {}", finding.advice);
    if let Some(bucket) = &finding.bucket {
        row!(out, "  bucket     {bucket}");
    }
    row!(out, "  explain    migcert explain {}", rule.id);
    reproduce(out, finding.file.as_ref(), "");
}

fn flaky(out: &mut Lines, rule: &Rule, FlakyReport { found, file }: &FlakyReport) {
    row!(out);
    row!(out, "flaky   {} ({}, {})", rule.id, rule.cites, rule.level.name());
    row!(out, "  found      {found}");
    reproduce(out, file.as_ref(), " --times 20");
}

/// How to reproduce a finding, with these options.
fn reproduce(out: &mut Lines, file: Option<&CaseFile>, options: &str) {
    match file {
        Some(CaseFile::Written { case }) => {
            row!(out, "  reproduce  migcert replay {}{options}", Word(case));
        }
        Some(CaseFile::Unwritten { case_text, case_error }) => {
            row!(
                out,
                "  reproduce  {case_error}; this is the case, for `migcert replay FILE.toml{options}`:"
            );
            out.block(QUOTED, case_text);
        }
        None => {}
    }
}

fn cause(out: &mut Lines, CauseReport { id, rule, summary, consequences }: &CauseReport) {
    row!(out, "cause   {id} {rule}: {summary}");
    for consequence in consequences {
        let (rule, cases) = (&consequence.rule, consequence.cases);
        let on =
            if consequence.pairs == 1 { String::new() } else { format!(" on {} pairs", consequence.pairs) };
        row!(out, "  consequence  {rule:<27} within {cases} cases{on}");
    }
}

fn self_test(test: &SelfTest) -> String {
    if test.planted.is_empty() {
        return format!("not done: {}", deadline::UP);
    }
    let green = if test.null.verdict == Verdict::Pass { "GREEN" } else { "not green" };
    format!(
        "null device: {green} ({} rules broken, {} not executed); {} of {} planted faults found",
        test.null.broken,
        test.null.not_executed,
        test.found(),
        test.planted.len(),
    )
}

/// The verdict, the row of the table that decided it, and hints.
fn verdict(out: &mut Lines, certificate: &Certificate) {
    let Certificate { verdict, selected, rules_total, executed, total, seed, rules, .. } = certificate;
    let partial = if selected < rules_total {
        format!(" (partial: {selected} of {rules_total} rules)")
    } else {
        String::new()
    };
    let count = |outcome| rules.iter().filter(|report| report.outcome == outcome).count();
    let broken = match certificate.causes.len() {
        0 => String::new(),
        1 => " (1 cause)".to_owned(),
        several => format!(" ({several} causes)"),
    };
    out.after(
        verdict.name(),
        format_args!(
            "{partial}: executed {executed} of {total} cases; rules: {} held, {} broken{broken}, {} not applicable, {} unsettled; seed {seed:#x}",
            count(OutcomeName::Held),
            count(OutcomeName::Broken),
            count(OutcomeName::NotApplicable),
            count(OutcomeName::Unsettled),
        ),
    );
    row!(out, "decided by  {}: {}", certificate.decided_by.id, certificate.why);
    let is_time = |exclusion: &Exclusion| matches!(exclusion, Exclusion::NotBegun { short: Short::Time, .. });
    if certificate.excluded.iter().any(is_time) {
        row!(out, "not enough time: raise --max-time, or select rules with --only");
    }
    // What is known or waived does not count with --strict either.
    let counts = |finding: &FindingReport| !finding.known && finding.waived.is_none();
    let is_broken = |report: &RuleReport| {
        let is_accused = report.findings.is_empty() || report.findings.iter().any(counts);
        report.outcome == OutcomeName::Broken && is_accused
    };
    let is_open = |report: &RuleReport| report.outcome == OutcomeName::Unsettled;
    let is_should =
        |report: &RuleReport| report.level == Level::Should && (is_broken(report) || is_open(report));
    if !certificate.strict && *verdict == Verdict::Pass && rules.iter().any(is_should) {
        row!(out, "broken and unsettled `should` rules don't count; with --strict they do");
    }
    if let Some(part) = &certificate.part {
        row!(out, "this is part {}: `migcert merge` gives the result of all parts", part.shard);
    }
}

/// Long values are cut in text; JSON and cases have them in full.
fn clipped(text: &str) -> String {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}
