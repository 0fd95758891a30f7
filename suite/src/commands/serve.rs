//! `migcert serve`: any device behind the traits of the core, as a device program.

use super::{Exit, write_out};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use migcert::hosts::vfio_user::server;
use migcert::scratch::Scratch;
use migcert::subject::Subject;
use migcert::{impls, say, text};
use migcert_core::device::Device;
use migcert_core::model::ModelId;
use migcert_core::param::{Configuration, Value};
use migcert_core::program::Model;
use migcert_core::version::{Setup, Version};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// Serves an implementation as a device program over vfio-user.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// builtin:NAME[@RELEASE][+FAULT]...
    #[arg(value_name = "IMPL")]
    name: String,
    /// --socket-path PATH or --fd N; --m-NAME=VALUE or --m-NAME VALUE for each parameter;
    /// --migration-model ID and --migration-version STRING; --print-migration-info-json
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// The parsed options.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    socket_path: Option<PathBuf>,
    fd: Option<RawFd>,
    model: Option<String>,
    version: Option<String>,
    params: Vec<(String, String)>,
    prints: bool,
}

pub(crate) fn serve(args: &ServeArgs) -> anyhow::Result<Exit> {
    let subject = impls::subject(&args.name)?;
    match start(&subject, &args.options) {
        Ok(None) => Ok(Exit::Nothing),
        Ok(Some((device, options))) => {
            let socket = connected(&options)?;
            server::serve(device, socket).context("can't serve")?;
            Ok(Exit::Nothing)
        }
        Err(why) => {
            say!("refused: {why:#}");
            Ok(Exit::Refused)
        }
    }
}

/// Starts the requested device; `None` if only the description is requested, which is printed.
///
/// An unknown model, version or parameter is left to the device to refuse: the device is under test.
fn start(subject: &Subject, options: &[String]) -> anyhow::Result<Option<(Box<dyn Device>, Options)>> {
    let options = parse(options)?;
    if options.prints {
        write_out(&text::escaped_json(&(subject.manifest.to_json() + "\n")))?;
        return Ok(None);
    }
    let models = &subject.manifest.models;
    let id = match &options.model {
        Some(id) => ModelId::from(id.as_str()),
        None => models.keys().next().context("no model is supported")?.clone(),
    };
    let setup = match &options.version {
        Some(_) if !options.params.is_empty() => bail!("--migration-version and --m-NAME exclude each other"),
        Some(version) => Setup::Version(version.parse::<Version>()?),
        None => Setup::Params(configuration(models.get(&id), &options.params)?),
    };
    // The messages of these errors contain their causes.
    let started = subject.program.outside().and_then(|outside| subject.program.start(&id, &setup, &outside));
    let device = started.map_err(|why| anyhow!("{why}"))?;
    server::registers(&*device)?;
    Ok(Some((device, options)))
}

fn configuration(model: Option<&Model>, params: &[(String, String)]) -> anyhow::Result<Configuration> {
    let mut configuration = Configuration::new();
    for (name, text) in params {
        let name = name.parse().with_context(|| format!("--m-{name}"))?;
        let ty = if let Some(Model::Params(known)) = model { known.ty(&name) } else { None };
        let value = ty.and_then(|ty| ty.parse(text).ok()).unwrap_or_else(|| Value::Str(text.clone()));
        if configuration.contains_key(&name) {
            bail!("--m-{name} is given twice");
        }
        configuration.insert(name, value);
    }
    Ok(configuration)
}

fn parse(words: &[String]) -> anyhow::Result<Options> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if option == "--print-migration-info-json" {
            options.prints = true;
            continue;
        }
        let value =
            value.or_else(|| words.next().cloned()).with_context(|| format!("{option} needs a value"))?;
        match option {
            "--socket-path" => options.socket_path = Some(value.into()),
            "--fd" => options.fd = Some(value.parse().with_context(|| format!("--fd {value}"))?),
            "--migration-model" => options.model = Some(value),
            "--migration-version" => options.version = Some(value),
            _ => match option.strip_prefix("--m-") {
                Some(name) => options.params.push((name.to_owned(), value)),
                None => bail!("unknown option {option}"),
            },
        }
    }
    Ok(options)
}

/// Waits for the client: on the path, on a listening descriptor, or the descriptor is its connection.
fn connected(options: &Options) -> anyhow::Result<UnixStream> {
    match (&options.socket_path, options.fd) {
        (Some(path), None) => {
            let (listener, _socket) = Scratch::socket(path).with_context(|| path.display().to_string())?;
            Ok(listener.accept()?.0)
        }
        (None, Some(number)) if 0 <= number => {
            // SAFETY: it is only duplicated, which fails for a descriptor that is not open.
            let fd: OwnedFd = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?;
            if rustix::net::sockopt::socket_acceptconn(&fd).with_context(|| format!("--fd {number}"))? {
                return Ok(UnixListener::from(fd).accept()?.0);
            }
            Ok(UnixStream::from(fd))
        }
        _ => bail!("give --socket-path PATH or --fd N"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_two_forms() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let read = |text| parse(&words(text)).map_err(|why| why.to_string());
        let same = read("--socket-path=/s --m-a=1 --m-b==2");
        assert_eq!(read("--socket-path /s --m-a 1 --m-b =2"), same);
        let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(same.expect("read").params, [named("a", "1"), named("b", "=2")]);
        assert_eq!(read("--m-a"), Err("--m-a needs a value".to_owned()));
        assert_eq!(read("--what 1"), Err("unknown option --what".to_owned()));
    }
}
