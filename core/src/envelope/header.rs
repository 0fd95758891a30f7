//! The body of the header: model id and parameter list or version string.

use crate::envelope::{BadState, array};
use crate::model::ModelId;
use crate::param::{Configuration, Value};
use crate::version::Setup;

/// The body as a writer writes it; two bodies are equal exactly when model and setup are.
pub(super) fn body(model: &ModelId, setup: &Setup) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, model.as_str());
    match setup {
        Setup::Params(list) => {
            body.push(PARAMS);
            put_number(&mut body, list.len());
            for (name, value) in list {
                put_text(&mut body, name.as_str());
                put_value(&mut body, value);
            }
        }
        Setup::Version(version) => {
            body.push(VERSION);
            put_text(&mut body, version.as_str());
        }
    }
    body
}

/// Judges a body that is as it was written: nothing but `model` with `setup` is let in.
pub(super) fn judge(found: &[u8], model: &ModelId, setup: &Setup) -> Result<(), BadState> {
    if found == body(model, setup) {
        return Ok(());
    }
    Err(match read(found) {
        Some((saved, _)) if saved != *model => BadState::OtherModel { saved, here: model.clone() },
        Some((_, saved)) if saved != *setup => BadState::OtherSetup { saved, here: setup.clone() },
        _ => BadState::Malformed,
    })
}

const PARAMS: u8 = 0;
const VERSION: u8 = 1;
const BOOL: u8 = 0;
const INT: u8 = 1;
const STR: u8 = 2;

fn put_number(body: &mut Vec<u8>, n: usize) {
    body.extend_from_slice(&(n as u64).to_le_bytes());
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    put_number(body, text.len());
    body.extend_from_slice(text.as_bytes());
}

fn put_value(body: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Bool(b) => body.extend_from_slice(&[BOOL, u8::from(*b)]),
        Value::Int(n) => {
            body.push(INT);
            body.extend_from_slice(&n.to_le_bytes());
        }
        Value::Str(s) => {
            body.push(STR);
            put_text(body, s);
        }
    }
}

fn read(mut body: &[u8]) -> Option<(ModelId, Setup)> {
    let model = ModelId::from(text(&mut body)?);
    let setup = match byte(&mut body)? {
        PARAMS => Setup::Params(list(&mut body)?),
        VERSION => Setup::Version(text(&mut body)?.parse().ok()?),
        _ => return None,
    };
    body.is_empty().then_some((model, setup))
}

fn list(body: &mut &[u8]) -> Option<Configuration> {
    let count = number(body)?;
    let mut list = Configuration::new();
    for _ in 0..count {
        list.insert(text(body)?.parse().ok()?, value(body)?);
    }
    Some(list)
}

fn value(body: &mut &[u8]) -> Option<Value> {
    Some(match byte(body)? {
        BOOL => Value::Bool(byte(body)? != 0),
        INT => Value::Int(i64::from_le_bytes(array(take(body, 8)?, 0))),
        STR => Value::Str(text(body)?.to_owned()),
        _ => return None,
    })
}

fn text<'a>(body: &mut &'a [u8]) -> Option<&'a str> {
    let length = number(body)?;
    str::from_utf8(take(body, length)?).ok()
}

fn byte(body: &mut &[u8]) -> Option<u8> {
    take(body, 1).map(|byte| byte[0])
}

fn number(body: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(array(take(body, 8)?, 0)))
}

/// A length is a claim: nothing is taken that is not here.
fn take<'a>(body: &mut &'a [u8], claimed: u64) -> Option<&'a [u8]> {
    let (head, rest) = body.split_at_checked(usize::try_from(claimed).ok()?)?;
    *body = rest;
    Some(head)
}
