//! Chapter R-2: model ids, opaque to the byte.

use serde::Serialize;
use std::fmt;
use url::Url;

/// The name of a device model.
///
/// Equality is equality of bytes, so there is nothing to parse and nothing to normalise;
/// advice on form is [`lints`](ModelId::lints), which never refuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ModelId(String);

impl ModelId {
    /// The id, as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Advice on the form of the id. Says nothing about what it matches.
    pub fn lints(&self) -> Vec<IdLint> {
        let mut lints = Vec::new();
        if self.0.is_empty() {
            return vec![IdLint::Empty];
        }
        if self.0.contains(|c: char| c.is_whitespace() || c.is_control()) {
            lints.push(IdLint::WhiteSpace);
        }
        match Url::parse(&self.0) {
            Ok(url) if url.scheme() == "http" => lints.push(IdLint::Http),
            Ok(url) if !matches!(url.scheme(), "https" | "vfio" | "pci") && !self.0.contains("://") => {
                // `host.example:80/x` parses as a scheme; so does `urn:x`.
                lints.push(IdLint::NoAuthority);
            }
            Ok(url) if url.as_str() != self.0 => lints.push(IdLint::NotNormal(url.into())),
            Ok(_) => {}
            Err(_) if !begins_with_a_domain(&self.0) => lints.push(IdLint::NoAuthority),
            Err(_) => {}
        }
        lints
    }
}

/// The r3 and r4 form: a domain name and at least one path component.
fn begins_with_a_domain(id: &str) -> bool {
    let Some((domain, path)) = id.split_once('/') else { return false };
    let label = |l: &str| !l.is_empty() && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    domain.contains('.') && domain.split('.').all(label) && !path.is_empty()
}

impl From<&str> for ModelId {
    fn from(id: &str) -> ModelId {
        ModelId(id.to_owned())
    }
}

impl From<String> for ModelId {
    fn from(id: String) -> ModelId {
        ModelId(id)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Advice on the form of a model id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdLint {
    /// Nothing there.
    #[error("the id is empty; name it after a domain you control, such as https://example.org/my-nic")]
    Empty,
    /// `http` is a warning sign.
    #[error("`http` is a warning sign to many; `https` is the suggested scheme")]
    Http,
    /// Nobody can tell whose name this is.
    #[error("the id does not begin with a domain or URI of its author's; others may choose the same")]
    NoAuthority,
    /// Two spellings that a browser takes for one are two models.
    #[error("a browser would write this id `{0}`, which is another model; spell it so to avoid mistakes")]
    NotNormal(String),
    /// Invisible, and lost in copying.
    #[error("the id has white space or control characters, which are lost in copying")]
    WhiteSpace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lints(id: &str, expected: &[IdLint]) {
        assert_eq!(ModelId::from(id).lints(), expected, "{id}");
    }

    #[test]
    fn advice_on_form() {
        lints("https://qemu.org/devices/e1000e", &[]);
        lints("vendor-a.com/my-nic", &[]);
        lints("qemu.org/pci/10ec/8139", &[]);
        lints("pci://vendor/10ec", &[]);
        lints("vfio:nic", &[]);
        lints("http://qemu.org/devices/e1000e", &[IdLint::Http]);
        lints("e1000e", &[IdLint::NoAuthority]);
        lints("", &[IdLint::Empty]);
        let other = "https://qemu.org/x".to_owned();
        lints("https://qemu.org:443/x", &[IdLint::NotNormal(other.clone())]);
        lints("https://QEMU.org/x", &[IdLint::NotNormal(other)]);
    }

    #[test]
    fn two_spellings_are_two_models() {
        let id = ModelId::from("https://qemu.org/devices/e1000e");
        for other in [
            "https://www.qemu.org/devices/e1000e",
            "https://qemu.org/devices/e1000e/",
            "https://qemu.org:443/devices/e1000e",
            "https://QEMU.org/devices/e1000e",
            "https://qemu.org/devices/e1000%65",
        ] {
            assert_ne!(id, ModelId::from(other));
        }
    }
}
