//! The source packages: made twice they are the same, and they build without a network to the same binary packages.

use crate::common::{Absent, or_skip, scratch};
use crate::{has, module_dir, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A command without what cargo tells the programs that it runs, which would reach the builds.
fn outside_cargo(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO")) {
        command.env_remove(name);
    }
    command
}

fn assert_runs(command: &mut Command) {
    let ran = command.output().unwrap();
    let said = text(&ran);
    let end = said.char_indices().rev().nth(2000).map_or(0, |(at, _)| at);
    assert!(ran.status.success(), "{command:?}: {}", &said[end..]);
}

/// The files of a directory whose name ends so, by name.
fn files(directory: &Path, end: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.filter(|path| path.is_file() && path.to_string_lossy().ends_with(end));
    let mut files: Vec<_> = named
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn assert_same(one: &[(String, Vec<u8>)], two: &[(String, Vec<u8>)], count: usize) {
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(one).len(), count, "{:?}", names(one));
    assert_eq!(names(one), names(two));
    for ((name, one), (_, two)) in one.iter().zip(two) {
        assert!(one == two, "{name} differs");
    }
}

fn make_source(out: PathBuf) -> PathBuf {
    let made = format!("OUT={}", out.display());
    assert_runs(outside_cargo("make").args(["--silent", "-C"]).arg(module_dir()).args(["source", &made]));
    out
}

/// The binary packages of the Debian source package, built in a directory of their own.
fn build_debian(source: &Path, directory: &Path) {
    fs::create_dir(directory).unwrap();
    let [dsc] = &files(source, ".dsc")[..] else { panic!("one .dsc") };
    let tree = directory.join("tree");
    assert_runs(outside_cargo("dpkg-source").args(["--no-check", "-x"]).arg(source.join(&dsc.0)).arg(&tree));
    let build = ["--map-root-user", "--net", "dpkg-buildpackage", "-b", "-us", "-uc", "-d"];
    assert_runs(outside_cargo("unshare").args(build).current_dir(&tree));
    fs::remove_dir_all(tree).unwrap();
}

fn build_rpm(source: &Path, directory: &Path) {
    fs::create_dir(directory).unwrap();
    let [package] = &files(source, ".src.rpm")[..] else { panic!("one source package") };
    let top = format!("_topdir {}/tree", directory.display());
    let out = format!("_rpmdir {}", directory.display());
    let name = "_rpmfilename %%{NAME}.rpm";
    let build = ["--map-root-user", "--net", "rpmbuild", "--rebuild", "--nodeps"];
    let define = ["--define", &top, "--define", &out, "--define", name];
    assert_runs(outside_cargo("unshare").args(build).args(define).arg(source.join(&package.0)));
    fs::remove_dir_all(directory.join("tree")).unwrap();
}

/// What a package's own build made runs.
fn assert_collector_runs(package: &Path) {
    let root = package.with_extension("root");
    assert_runs(Command::new("dpkg-deb").arg("-x").arg(package).arg(&root));
    for program in ["usr/bin/vmcore-encrypt", "usr/lib/vmcore-encrypt/vmcore-encrypt"] {
        let version = Command::new(root.join(program)).arg("--version").output().unwrap();
        assert!(text(&version).contains(env!("CARGO_PKG_VERSION")), "{program}: {}", text(&version));
    }
}

#[test]
#[ignore = "make matrix"]
fn matrix_source_packages_build_alike_without_a_network() {
    if !["dh", "dpkg-source", "dpkg-buildpackage", "rpmbuild", "git"].iter().all(|program| has(program)) {
        return;
    }
    let isolated = Command::new("unshare").args(["--map-root-user", "--net", "true"]).status();
    let isolated =
        isolated.ok().filter(|status| status.success()).ok_or(Absent("network namespaces".to_owned()));
    if or_skip(isolated).is_none() {
        return;
    }
    let out = scratch("source-packages");
    let [one, two] = ["one", "two"].map(|name| make_source(out.join(name)));
    assert_same(&files(&one, ""), &files(&two, ""), 6);
    for (build, end, count) in [(build_debian as fn(&Path, &Path), ".deb", 2), (build_rpm, ".rpm", 1)] {
        let [one, two] = ["a", "b"].map(|name| {
            let directory = out.join(format!("{name}{end}"));
            build(&one, &directory);
            files(&directory, end)
        });
        assert_same(&one, &two, count);
    }
    let [package] = &files(&out.join("a.deb"), ".deb")
        .into_iter()
        .filter(|(name, _)| name.starts_with("vmcore-encrypt"))
        .collect::<Vec<_>>()[..]
    else {
        panic!("one collector package")
    };
    assert_collector_runs(&out.join("a.deb").join(&package.0));
    fs::remove_dir_all(out).unwrap();
}
