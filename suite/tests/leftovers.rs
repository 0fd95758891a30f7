//! Nothing is left behind: no process, no socket, no directory. A test program of its own,
//! so that all its children are those of the one test.

use migcert::hosts::vhost_user::Processes;
use migcert::profile::Profile;
use migcert_core::device::Step;
use migcert_core::model::ModelId;
use std::fs;
use std::path::{Path, PathBuf};

/// Children of this process, and the directories that their command lines name.
fn left() -> (Vec<String>, Vec<PathBuf>) {
    let tasks = fs::read_dir("/proc/self/task").expect("tasks").flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<String> =
        children.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let lines = children.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).ok());
    let paths = lines.flat_map(|line| {
        let paths = line.split('\0').filter_map(|arg| Some(PathBuf::from(arg.split_once('=')?.1)));
        paths.filter(|path| path.is_absolute()).collect::<Vec<_>>()
    });
    let paths = paths.collect();
    (children, paths)
}

#[test]
fn nothing_is_left_behind() {
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/virtiofsd.toml");
    for processes in [Processes::Fresh, Processes::Reused] {
        let found = Profile::read(&profile).and_then(|profile| profile.find(None, None, processes));
        let program = found.unwrap_or_else(|why| panic!("{why}; run scripts/install-devices")).program;
        let model = ModelId::from("gitlab.com/virtio-fs/virtiofsd");
        let setup = program.describe().expect("described").models[&model].latest();
        let outside = program.outside().expect("an outside");
        let mut devices: Vec<_> =
            (0..3).map(|_| program.start(&model, &setup, &outside).expect("it starts")).collect();
        for device in &mut devices {
            device.guest(&Step::Request("create root n 0644 rw".to_owned())).expect("it answers");
        }
        let (children, paths) = left();
        assert_eq!(children.len(), 3);
        assert_eq!(paths.iter().filter(|path| path.exists()).count(), 6, "{paths:?}");
        drop((devices, outside, program));
        assert_eq!(left().0, Vec::<String>::new());
        let there: Vec<_> = paths.iter().filter(|path| path.exists()).collect();
        assert!(there.is_empty(), "{there:?}");
    }
}
