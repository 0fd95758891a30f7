//! What was left out: places that were learned, exclusions, and waivers that hide nothing.

use crate::certificate::{Exclusion, LearnedReport, SubjectReport, Waiver};
use crate::learned::Nature;
use crate::row;
use crate::text::Lines;

/// A waiver that hides nothing, as a finding of its profile.
pub(super) fn stale(out: &mut Lines, waiver: &Waiver) {
    row!(out);
    row!(out, "stale waiver of {} in {}", waiver.waives, waiver.subject);
    row!(out, "  reason     {}", waiver.why);
    row!(out, "  found      it hides nothing: {} held", waiver.rules.join(", "));
    row!(out, "  advice     remove it from the profile, so that it can't hide anything later");
}

/// Places of a subject that differ without a migration; prints nothing if there are none.
pub(super) fn learned(out: &mut Lines, subject: &SubjectReport, places: &[&LearnedReport]) {
    let name = &subject.name;
    if places.is_empty() {
        if let Some(why) = &subject.too_much {
            row!(out);
            row!(out, "learned  {name}: too much: {why}");
        }
        return;
    }
    let volatile = places.iter().filter(|place| place.nature == Nature::Volatile).count();
    let is_or_are = |count, what: &str| match count {
        1 => format!("1 place is {what}"),
        many => format!("{many} places are {what}"),
    };
    row!(out);
    match places.len() - volatile {
        0 => row!(out, "learned  {name}: {} and not compared", is_or_are(volatile, "volatile")),
        own if volatile == 0 => row!(out, "learned  {name}: {}", is_or_are(own, "of the instance")),
        own => {
            let (volatile, own) = (is_or_are(volatile, "volatile"), is_or_are(own, "of the instance"));
            row!(out, "learned  {name}: {volatile} and not compared, {own}");
        }
    }
    for place in places {
        let LearnedReport { hid, compared, .. } = place;
        let how = how(place);
        match place.nature {
            Nature::Volatile if place.late => row!(
                out,
                "  volatile   {how}; compared over all steps that follow, not step by step; {hid} of {compared} values"
            ),
            Nature::Volatile => row!(out, "  volatile   {how}; hid {hid} of {compared} values"),
            Nature::Instance => row!(
                out,
                "  instance   {how}; compared between source and destination, not with a twin: {hid} of {compared} values"
            ),
        }
        if place.stale {
            row!(out, "  stale      {}: no guest of this run touched it", place.place);
        }
    }
    if let Some(why) = &subject.too_much {
        row!(out, "  too much   {why}");
    }
    if places.iter().all(|place| place.pinned) {
        row!(out, "  pinned     all of it, by the profile; nothing new was learned");
        return;
    }
    row!(out, "  note       the device is not deterministic: the same seed may learn other places");
    if !subject.pins.is_empty() {
        row!(out, "  pin it     above the first [table] of the profile, in place of its `volatile`:");
        row!(out, "volatile = [");
        subject.pins.iter().for_each(|pin| out.after("  ", format_args!("{pin},")));
        out.after("]", format_args!(""));
    }
}

/// How it is known that a place differs.
fn how(LearnedReport { place, nature, apart_ms, pattern, .. }: &LearnedReport) -> String {
    let (Some(apart), Some(pattern)) = (apart_ms, pattern) else {
        return format!("{place}: pinned by the profile");
    };
    let differed = format!("{place}: differed between fresh instances that did the same, {apart} ms apart");
    match nature {
        Nature::Instance => format!("{differed}, and not in one"),
        Nature::Volatile => format!("{differed}; {pattern}"),
    }
}

/// The exclusions, as a section; nothing where other sections have all of them.
pub(super) fn excluded(out: &mut Lines, all: &[Exclusion]) {
    let lines: Vec<_> = all.iter().filter_map(exclusion).collect();
    if !lines.is_empty() {
        row!(out);
        row!(out, "excluded");
        lines.iter().for_each(|line| out.after("  ", format_args!("{line}")));
    }
}

/// An exclusion as a line; `None` if another section has it already.
fn exclusion(exclusion: &Exclusion) -> Option<String> {
    Some(match exclusion {
        Exclusion::Cases { cases, default } => {
            format!("cases      {cases} for each rule; by default {default}")
        }
        Exclusion::Never { subject, region, offset, size, percent, .. } => {
            format!(
                "never      {size} bytes of {subject} at {region}:{offset:#x}: {percent} % of its registers"
            )
        }
        Exclusion::Interrupts { subject, offered } => {
            format!("interrupts {offered} that {subject} offers: none was ever raised")
        }
        // In the section `learned`.
        Exclusion::Learned { .. } => return None,
        Exclusion::NotApplicable { cases, planned, .. } if cases == planned => return None,
        Exclusion::NotApplicable { rule, why, cases, planned } => {
            format!("cases      {cases} of {planned} of {rule}: {why}")
        }
        Exclusion::NotSelected { only, rules, of } => {
            format!("rules      {rules} of {of}: only {} was selected", only.join(", "))
        }
        Exclusion::NotBegun { rule, why, cases, planned, .. } => {
            format!("cases      {cases} of {planned} of {rule}: {why}")
        }
        Exclusion::Time { seconds, rules: 0 } => {
            format!("time       {seconds} s at most; no rule was cut short")
        }
        Exclusion::Time { seconds, rules } => {
            format!("time       after {seconds} s, {rules} rules were cut short")
        }
        Exclusion::Volatile { subject, place, bits, steps, of, percent } => {
            let bits = if *bits == 0 { String::new() } else { format!(", {bits} bits") };
            format!(
                "volatile   {place}{bits} of {subject}: {steps} of {of} things seen ({percent} %) were not compared"
            )
        }
        Exclusion::Waived { subject, waives, why, rules, findings } => {
            let rules = rules.len();
            format!("waived     {waives} of {subject}: {rules} rules, {findings} findings: {why}")
        }
    })
}
