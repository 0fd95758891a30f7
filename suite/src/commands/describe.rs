//! `migcert describe`.

use super::{Exit, Output, print};
use migcert::text::Lines;
use migcert::{certificate, impls, row};
use migcert_core::param::Param;
use migcert_core::program::Model;
use migcert_core::version::Setup;
use serde_json::{Value as Json, json};

pub(crate) fn describe(name: &str, output: &Output) -> anyhow::Result<Exit> {
    let opened = impls::open(name)?;
    let manifest = opened.manifest();
    let lints: Vec<String> = opened.lints().iter().map(ToString::to_string).collect();
    let text = || {
        let mut out = Lines::default();
        for (id, model) in &manifest.models {
            row!(out, "model    {id}");
            model_text(&mut out, model);
            row!(out, "latest   {}", model.latest());
        }
        lints.iter().for_each(|lint| row!(out, "lint     {lint}"));
        out
    };
    let json = || {
        let latest = manifest
            .models
            .iter()
            .map(|(id, model)| (id.to_string(), certificate::configuration(&model.latest())));
        let info: Json = serde_json::from_str(&manifest.to_json()).unwrap_or_default();
        json!({
            "schema": "migcert/describe/1",
            "migration_info": info,
            "latest": latest.collect::<serde_json::Map<_, _>>(),
            "lints": lints,
        })
    };
    print(output, text, json)?;
    Ok(Exit::Nothing)
}

fn model_text(out: &mut Lines, model: &Model) {
    let description = match model {
        Model::Versions(versions) => {
            return versions.strings().iter().for_each(|version| row!(out, "version  {version}"));
        }
        Model::Params(description) => description,
    };
    for (name, param) in &description.params {
        let off = param.off.as_ref().map_or_else(|| "can't be off".to_owned(), |off| format!("off {off}"));
        let what = param.description.as_ref().map_or_else(String::new, |what| format!("  {what}"));
        let Param { ty, init, allowed, .. } = param;
        row!(out, "param    {name} {ty}, init {init}, {off}, allowed {allowed}{what}");
    }
    for (version, full) in &description.versions {
        row!(out, "version  {version} is {}", Setup::Params(full.clone()));
    }
    for clause in &description.requires {
        row!(out, "requires {clause}");
    }
}
