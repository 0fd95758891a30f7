//! `migcert check`.

use super::{Exit, Output, print};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use migcert::certificate::{self, ReasonReport};
use migcert::text::Lines;
use migcert::{impls, row};
use migcert_core::compat;
use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Model};
use migcert_core::version::{Request, Setup};
use serde_json::json;

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Implementation that saves
    src: String,
    /// Implementation that loads
    dst: String,
    /// Configuration of the source, such as version=2,rx-filter-size=64; may be repeated
    #[arg(short, long = "config", value_name = "CONFIG")]
    config: Vec<String>,
    /// Model to check, if the source has several
    #[arg(long, value_name = "ID")]
    model: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<Exit> {
    let source = impls::open(&args.src).context("SRC")?;
    let destination = impls::open(&args.dst).context("DST")?;
    let (id, model) = pick_model(source.manifest(), args.model.as_deref())?;
    let request = Request::parse(&args.config)?;
    let setup = request.expand(model).map_err(|why| anyhow!("can't configure SRC: {why}"))?;
    let verdict = compat::check(id, model, &setup, destination.manifest());
    let unproven = compat::unproven(id, model, &setup, destination.manifest());
    let drift = compat::drift(id, model, &setup, destination.manifest());
    let list = match (model, &setup) {
        (Model::Params(description), Setup::Params(full)) => {
            Setup::Params(description.parameter_list(full).named)
        }
        _ => setup.clone(),
    };
    let text = || {
        let head = if verdict.is_compatible() { "compatible" } else { "incompatible" };
        let mut out = Lines::default();
        out.after(head, format_args!(": {} -> {}, model {id}", args.src, args.dst));
        row!(out, "configuration   {setup}");
        row!(out, "parameter list  {list}");
        for reason in &verdict.0 {
            let info = reason.info();
            row!(out, "reason          {}: {reason} ({})", reason.requirement(), info.id);
            out.after("                ", format_args!("{}", info.advice));
        }
        for name in &unproven {
            row!(
                out,
                "unproven        `{name}` may still be refused at start: no allowed values are described (R-3.6)"
            );
        }
        drift.iter().for_each(|drift| row!(out, "lint            {drift}"));
        out
    };
    let json = || {
        json!({
            "schema": "migcert/check/1",
            "compatible": verdict.is_compatible(),
            "model": id.as_str(),
            "configuration": certificate::configuration(&setup),
            "parameter_list": certificate::configuration(&list),
            "reasons": verdict.0.iter().map(ReasonReport::from).collect::<Vec<_>>(),
            "lints": drift.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "unproven": unproven.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    print(&args.output, text, json)?;
    Ok(if verdict.is_compatible() { Exit::Nothing } else { Exit::Found })
}

fn pick_model<'a>(manifest: &'a Manifest, wanted: Option<&str>) -> anyhow::Result<(&'a ModelId, &'a Model)> {
    let ids = || manifest.models.keys().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    match (wanted, manifest.models.len()) {
        (Some(wanted), _) => {
            let found = manifest.models.get_key_value(&ModelId::from(wanted));
            found.ok_or_else(|| anyhow!("SRC has no model `{wanted}`; it has {}", ids()))
        }
        (None, 1) => manifest.models.iter().next().ok_or_else(|| anyhow!("SRC has no model")),
        (None, 0) => bail!("SRC has no model"),
        (None, _) => bail!("SRC has several models; choose one with --model: {}", ids()),
    }
}
