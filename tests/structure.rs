//! The drawing in `src/lib.rs` is true: every room is in its table, and a room imports only rooms of its own row or of
//! rows below.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The row of each room in the table of `lib.rs`, counted from the top.
fn rows(lib: &str) -> BTreeMap<String, usize> {
    let table = lib.lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut rows = BTreeMap::new();
    for (row, line) in table.filter(|line| line.starts_with('`')).enumerate() {
        let names = line.split(" | ").next().unwrap();
        for name in names.split(", ") {
            assert!(rows.insert(name.trim_matches('`').to_owned(), row).is_none(), "{name} is in two rows");
        }
    }
    rows
}

/// The files of a room: `src/ROOM.rs` and what is below `src/ROOM/`.
fn files(room: &str) -> Vec<PathBuf> {
    let mut files = vec![source().join(format!("{room}.rs"))];
    let mut directories = vec![source().join(room)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}

/// The rooms that a file names: `crate::ROOM`, also in a `use crate::{...}` of several lines.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    // What tests of a room bring in is theirs.
    let code = code.split("#[cfg(test)]mod tests").next().unwrap();
    let word = |text: &str| -> String {
        text.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect()
    };
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => drop(rooms.insert(word(after))),
            Some(list) => {
                let (mut depth, mut start) = (0, true);
                for (at, char) in list.char_indices() {
                    match char {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        char if start && char.is_ascii_alphabetic() => {
                            rooms.insert(word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

#[test]
fn every_room_is_in_the_table_and_no_other() {
    let lib = fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared: BTreeSet<String> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert_eq!(rows(&lib).into_keys().collect::<BTreeSet<_>>(), declared);
}

#[test]
fn imports_go_down_the_table_only() {
    let rows = rows(&fs::read_to_string(source().join("lib.rs")).unwrap());
    let mut wrong = Vec::new();
    for (room, row) in &rows {
        for file in files(room) {
            for import in imports(&fs::read_to_string(&file).unwrap()) {
                let below = rows.get(&import).is_none_or(|other| other > row || import == *room);
                if !below {
                    wrong
                        .push(format!("{} imports {import}", file.strip_prefix(source()).unwrap().display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::units::{Pfn};\n// crate::sink\nuse crate::{\n    mm::{self, a},\n    raw,\n};\nfn f() { crate::klog::x() }";
    let found: Vec<String> = imports(text).into_iter().collect();
    assert_eq!(found, ["klog", "mm", "raw", "units"]);
}

#[test]
fn a_room_is_one_file_and_a_directory_beside_it() {
    let mut directories = vec![source()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.ends_with("mod.rs"), "{}: use NAME.rs beside NAME/", path.display());
            if path.is_dir() {
                directories.push(path);
            }
        }
    }
}

/// `make matrix` finds its tests by name: each that is ignored for it has the name, and no other.
#[test]
fn tests_of_the_matrix_have_its_name() {
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
    let mut found = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found += assert_names_of_matrix(&path);
            }
        }
    }
    assert!(found > 0, "no test is for the matrix");
}

/// How many tests of the matrix a file has.
fn assert_names_of_matrix(path: &Path) -> usize {
    let (mark, text) = (concat!("#[ignore", " = \"make matrix\"]"), fs::read_to_string(path).unwrap());
    let name = concat!("fn ", "matrix_");
    let after: Vec<&str> = text.split(mark).skip(1).collect();
    for test in &after {
        assert!(test.trim_start().starts_with(name), "{}: {}", path.display(), &test[..60]);
    }
    let named = text.matches(&format!("\n{name}")).count();
    assert_eq!(named, after.len(), "{}: tests of the matrix that are not ignored", path.display());
    after.len()
}

/// Every file of the sources, without the tests at its foot.
fn sources() -> Vec<(PathBuf, String)> {
    let (mut directories, mut sources) = (vec![source()], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                sources.push((path, own));
            }
        }
    }
    sources
}

/// `mod` lines, one block of imports that rustfmt sorts, and after it one of what the file hands on.
#[test]
fn imports_have_one_order() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let paragraphs = text.split("\n\n").filter_map(|paragraph| {
            let line = paragraph.lines().find(|line| !line.starts_with("//") && !line.starts_with("#["))?;
            let is_public = line.starts_with("pub use ") || line.starts_with("pub(crate) use ");
            (is_public || line.starts_with("use ")).then_some(is_public)
        });
        let blocks: Vec<bool> = paragraphs.collect();
        if !matches!(blocks[..], [] | [_] | [false, true]) {
            wrong.push(path.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many lines each function of a text takes, as rustfmt sets it: from its `fn` to the brace below that.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |line: &str| {
        let words = line.trim_start().split('(').next().unwrap();
        !line.trim_start().starts_with("//")
            && (words.starts_with("fn ") || words.contains(" fn ") || line.contains(") fn "))
    };
    let starts = (0..lines.len()).filter(|&at| is_start(lines[at]) && !lines[at].ends_with(';'));
    let length = |at: usize| {
        let indent = &lines[at][..lines[at].len() - lines[at].trim_start().len()];
        let is_end = |line: &str| line.strip_prefix(indent).is_some_and(|rest| rest == "}" || rest == ");");
        lines[at..].iter().position(|line| is_end(line)).map_or(1, |end| end + 1)
    };
    starts
        .map(|at| (lines[at].trim().to_owned(), if lines[at].ends_with('}') { 1 } else { length(at) }))
        .collect()
}

/// The way out, the way back, and both in a row are read on one screen.
#[test]
fn functions_of_the_flow_fit_a_screen() {
    for room in ["collect.rs", "restore.rs", "cli/decrypt/refilter.rs"] {
        let text = fs::read_to_string(source().join(room)).unwrap();
        let functions = functions(&text);
        assert!(functions.iter().any(|(_, lines)| *lines > 20), "{room}");
        for (function, lines) in functions {
            assert!(lines <= 40, "{room}: {function} takes {lines} lines");
        }
    }
}
