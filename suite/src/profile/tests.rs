//! What is said of profiles that can't be used.

use super::*;
use std::fs;

/// What is said of a profile whose program is a shell that knows no version.
#[track_caller]
fn says(text: &str, expected: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p.toml");
    fs::write(&path, text).expect("written");
    let found = Profile::read(&path).and_then(|profile| profile.find(&Which::Named, Processes::Fresh));
    let said = found.err().map_or_else(|| "fine".to_owned(), |why| why.why.to_string());
    assert!(said.contains(expected), "{said}");
}

const GOOD: &str = r#"
    program = "/bin/sh"
    args = ["--socket={socket}", "--q={param:q}"]
    wire = "vhost-user"
    guest = "virtio-fs"
    [info.models."example.org/x".params.q]
    type = "int"
    init_value = 1
"#;

#[test]
fn errors_name_the_place() {
    says(GOOD, "fine");
    says(&GOOD.replace("{param:q}", "{param:r}"), "args: `--q={param:r}`: `{param:r}` stands for nothing");
    says(&GOOD.replace("wire", "wires"), "unknown field `wires`");
    says(&GOOD.replace("\"virtio-fs\"", "\"virtio-net\""), "guest: `virtio-net` is no guest");
    says(&GOOD.replace("/bin/sh", "./nothing"), "scripts/install-devices");
    says(&GOOD.replace("/bin/sh", "/bin/sh -e"), "fine");
    says(&GOOD.replace("/bin/sh", "/bin/sh -e {what}"), "`{what}` stands for nothing");
    says(&GOOD.replace("/bin/sh", "./nothing -e"), "/nothing is not there");
    says(&GOOD.replace("/bin/sh", "./x-{release}"), "no `release` is named");
    says(&GOOD.replace("init_value = 1", "init_value = \"x\""), "info: ");
    let vfio = GOOD.replace("vhost-user", "vfio-user").replace("virtio-fs", "registers");
    says(&vfio, "fine");
    let volatile = "volatile = [{ region = 0, offset = 0, size = 4 }]\nargs";
    says(&vfio.replace("args", volatile), "fine");
    let pins = |pins: &str| format!("volatile = [{pins}]\nargs");
    let pin = "{ region = 0, offset = 0, size = 4, bits = 1 }";
    says(&vfio.replace("args", &pins(&format!("{pin}, {{ interrupt = 1, late = true }}"))), "fine");
    says(
        &vfio.replace("args", &pins(&format!("{pin}, {{ interrupt = 1 }}, {pin}"))),
        "volatile[2]: it hides what volatile[0] hides",
    );
    says(&vfio.replace("args", &pins(&format!("{pin}, {{}}"))), "volatile[1]: it is about one of");
    says(&vfio.replace("args", &pins("{ interrupt = 1, bit = 1 }")), "unknown field `bit`");
    says(
        &vfio.replace("args", &pins(&"{ interrupt = 1 }, ".repeat(300))),
        "volatile: 300 elements are too many",
    );
    says(&GOOD.replace("args", &pins("{ reply = 'getattr', field = 3 }")), "fine");
    says(&GOOD.replace("args", &pins(pin)), "volatile: it is about registers");
    for ms in ["0", "86400001"] {
        let limits = format!("limits.transfer-ms = {ms}\nargs");
        says(&vfio.replace("args", &limits), &format!("limits.transfer-ms: {ms} is not from 1 to 86400000"));
    }
    let config = "config-space = 'device'\nargs";
    says(&vfio.replace("args", config), "fine");
    says(&GOOD.replace("args", config), "config-space: it is about registers");
    says(&vfio.replace("args", &config.replace("device", "nobody")), "line 3, column 20: unknown variant");
    says(&GOOD.replace("args", volatile), "volatile: it is about registers");
    says(&format!("{GOOD}\n[scripts]\nring = []"), "scripts: it is about registers");
    says(&vfio.replace("args", "initial = [\"touch 0\"]\nargs"), "initial[0]: `touch 0` is no step");
    let scripts = |scripts: &str| format!("{vfio}\n[scripts]\n{scripts}");
    says(&scripts("a = ['read 0:0/1', 'request b']\nb = ['request c', 'request c']\nc = []"), "fine");
    says(&scripts("a = ['request a']"), "scripts: `a` requests `a`: it has no end");
    says(&scripts("a = ['request b']\nb = ['request a']"), "`a` requests `b` requests `a`: it has no end");
    says(&scripts("a = ['request b']"), "scripts.a: `request b`: there is no such script");
    let doubling = |n: u32| (0..n).map(|i| format!("s{i} = ['request s{}', 'request s{0}']\n", i + 1));
    let doubling = |n| doubling(n).collect::<String>() + &format!("s{n} = ['read 0:0/1']");
    says(&scripts(&doubling(7)), "fine");
    says(&scripts(&doubling(40)), "nested deeper than 8");
    let wide = format!("a = [{}]\nb = [{}]", "'request b',".repeat(64), "'read 0:0/1',".repeat(65));
    says(&scripts(&wide), "scripts.a: more than 4096 accesses");
    says(&vfio.replace("args", "initial = ['request a']\nargs"), "initial: `request a`: there is no such");
    says(&format!("{GOOD}\n[waive]\n\"R-6.5\" = \" \""), "`R-6.5` is waived without a reason");
    says(&format!("{GOOD}\n[waive]\n\"chunkin\" = \"why\""), "waive: `chunkin` is not a rule");
    says(&format!("{GOOD}\n[waive]\n\"no-such-rule\" = \"why\""), "waive: `no-such-rule` is not a rule");
    says(&format!("{GOOD}\n[waive]\n\"R-6.5\" = \"why\""), "fine");
    says(&format!("{GOOD}\n[[releases]]\nsays = [\"sh 9\"]"), "none says what the program says");
}
