//! The house keeps its shape: no circle of files that call each other, no hall of a file, no endless
//! function. Read from the text as `rustfmt` leaves it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines of one file beyond which it is counted.
const FILE_LINES: usize = 600;
/// Lines, and characters, of one function beyond which it is counted.
const FUNCTION_LINES: usize = 70;
/// See [`FUNCTION_LINES`].
const FUNCTION_CHARS: usize = 2600;

/// How many files are longer today. This number only goes down.
const LONG_FILES: usize = 17;
/// How many functions are longer today. This number only goes down.
const LONG_FUNCTIONS: usize = 71;
/// Files that may call each other round.
const CIRCLE_MAX: usize = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below a folder, and its text.
fn rust_files(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && name != ".git" {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// The name of the function that a line begins, if it begins one.
fn function(line: &str) -> Option<&str> {
    let mut words = line.trim_start();
    for word in ["pub", "const", "async", "unsafe", "extern \"C\""] {
        if let Some(rest) = words.strip_prefix(word) {
            words = rest.trim_start();
            if word == "pub" && words.starts_with('(') {
                words = words.split_once(')')?.1.trim_start();
            }
        }
    }
    let name = words.strip_prefix("fn ")?;
    name.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()
}

/// Functions of a file: name, and its lines from the name to the brace that closes it.
fn functions(text: &str) -> Vec<(&str, Vec<&str>)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let rest = lines.get(at..).unwrap_or_default();
        let one = line.ends_with('}') || line.ends_with(';');
        let length = if one {
            Some(0)
        } else {
            rest.iter().position(|l| {
                *l == closing || (l.ends_with(';') && !l.starts_with(&" ".repeat(indent + 1)))
            })
        };
        if let Some(length) = length {
            found.push((name, rest[..=length].to_vec()));
        }
    }
    found
}

#[test]
fn long_files_and_long_functions_only_become_fewer() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    assert!(files.len() > 200, "where is the code?");
    let (mut long_files, mut long_functions) = (Vec::new(), Vec::new());
    for (path, text) in &files {
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        if text.lines().count() > FILE_LINES {
            long_files.push(format!("{path}: {} lines", text.lines().count()));
        }
        for (name, lines) in functions(text) {
            let chars: usize = lines
                .iter()
                .map(|line| line.trim_start().chars().count())
                .sum();
            if lines.len() > FUNCTION_LINES || chars > FUNCTION_CHARS {
                long_functions.push(format!(
                    "{path}: {name}: {} lines, {chars} characters",
                    lines.len()
                ));
            }
        }
    }
    assert!(
        long_files.len() <= LONG_FILES,
        "{} files of more than {FILE_LINES} lines:\n{}",
        long_files.len(),
        long_files.join("\n")
    );
    assert!(
        long_functions.len() <= LONG_FUNCTIONS,
        "{} functions of more than {FUNCTION_LINES} lines or {FUNCTION_CHARS} characters:\n{}",
        long_functions.len(),
        long_functions.join("\n")
    );
}

/// The type that an `impl` is of, if the line begins one.
fn implemented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(generic) => generic.split_once('>')?.1,
        None => rest,
    };
    let of = rest.split_once(" for ").map_or(rest, |(_, of)| of).trim();
    of.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()
}

/// Methods by type: in which file each is, and what its text is.
type Methods = BTreeMap<String, BTreeMap<String, (String, String)>>;

/// A file up to the tests that stand in it; `mod tests;` in its head ends nothing.
fn without_inline_tests(text: &str) -> &str {
    let inline = text.match_indices("#[cfg(test)]\nmod ").find(|(at, _)| {
        let line = text.get(at + 13..).and_then(|rest| rest.lines().next());
        line.is_some_and(|line| line.ends_with('{'))
    });
    inline.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}

fn methods(folder: &str) -> Methods {
    let mut files = Vec::new();
    rust_files(&root().join(folder), &mut files);
    let beside = root().join(format!("{folder}.rs"));
    files.push((beside.clone(), std::fs::read_to_string(beside).unwrap()));
    let mut found = Methods::new();
    for (path, text) in files {
        let text = without_inline_tests(&text);
        let path = path.display().to_string();
        let mut current = None;
        let mut block = String::new();
        for line in text.lines() {
            if let Some(name) = implemented(line) {
                current = Some(name.to_owned());
                block.clear();
            } else if line == "}" {
                if let Some(name) = current.take() {
                    for (method, lines) in functions(&block) {
                        let told = (path.clone(), lines.join("\n"));
                        found
                            .entry(name.clone())
                            .or_default()
                            .insert(method.to_owned(), told);
                    }
                }
            } else if current.is_some() {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    found
}

/// Whether a text calls a method.
fn calls(text: &str, method: &str) -> bool {
    [format!(".{method}("), format!("Self::{method}(")]
        .iter()
        .any(|call| text.contains(call.as_str()))
}

/// Groups of files that call each other round through the methods of one type.
fn circles(methods: &BTreeMap<String, (String, String)>) -> Vec<BTreeSet<String>> {
    let mut reach: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in methods.values() {
        let called = methods
            .iter()
            .filter(|(name, (of, _))| of != file && calls(text, name));
        reach
            .entry(file)
            .or_default()
            .extend(called.map(|(_, (of, _))| of.as_str()));
    }
    // Everything that can be reached, by adding what is one call further until nothing is new.
    loop {
        let before: usize = reach.values().map(BTreeSet::len).sum();
        for file in reach.keys().copied().collect::<Vec<_>>() {
            let further = reach[file]
                .iter()
                .filter_map(|next| reach.get(next))
                .flatten();
            let further: BTreeSet<_> = further.copied().collect();
            reach.get_mut(file).unwrap().extend(further);
        }
        if reach.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    let round = |file: &&str| -> BTreeSet<String> {
        let back = |other: &&&str| reach.get(**other).is_some_and(|r| r.contains(*file));
        reach[*file]
            .iter()
            .filter(back)
            .map(|f| (*f).to_owned())
            .collect()
    };
    reach
        .keys()
        .map(round)
        .filter(|circle| circle.len() > 1)
        .collect()
}

#[test]
fn no_more_than_three_files_call_each_other_round() {
    for folder in ["node/src/agent", "node/src/host"] {
        let methods = methods(folder);
        assert!(
            methods.values().map(BTreeMap::len).sum::<usize>() > 100,
            "where is {folder}?"
        );
        for (name, methods) in methods {
            for circle in circles(&methods) {
                assert!(circle.len() <= CIRCLE_MAX, "{name}: {circle:#?}");
            }
        }
    }
}

/// The control: files that do call each other round are found.
#[test]
fn a_circle_is_found() {
    let method = |file: &str, text: &str| (file.to_owned(), text.to_owned());
    let all = BTreeMap::from([
        ("a".to_owned(), method("a.rs", "self.b(now)")),
        ("b".to_owned(), method("b.rs", "phone.c(now)")),
        ("c".to_owned(), method("c.rs", "self.d()")),
        ("d".to_owned(), method("d.rs", "Self::a()")),
        ("e".to_owned(), method("e.rs", "self.a(now)")),
    ]);
    let four: BTreeSet<_> = ["a.rs", "b.rs", "c.rs", "d.rs"].map(str::to_owned).into();
    let found = circles(&all);
    assert_eq!(
        found.len(),
        4,
        "each of the four lies in it, and the fifth does not"
    );
    assert!(found.iter().all(|circle| *circle == four));
}

/// Lines of code of a file, without its tests, and the assertions among them.
fn assertions(text: &str) -> (usize, usize) {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let said = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let lines: Vec<_> = code.lines().filter(said).collect();
    let asserts = |line: &&&str| {
        let kinds = ["never!(", "always!(", "assert!(", "debug_assert"];
        kinds.iter().any(|kind| line.contains(kind))
    };
    (lines.len(), lines.iter().filter(asserts).count())
}

/// Where rules are kept, at least eight assertions stand in a thousand lines of code.
#[test]
fn rules_are_asserted_where_they_are_kept() {
    let rooms = [
        "protocol",
        "clinical",
        "record",
        "sync",
        "distribution",
        "node",
    ];
    for room in rooms {
        let mut files = Vec::new();
        rust_files(&root().join(room).join("src"), &mut files);
        let host = |path: &Path| path.components().any(|part| part.as_os_str() == "host");
        let pure =
            |path: &Path| !host(path) && !path.ends_with("tests.rs") && !path.ends_with("host.rs");
        files.retain(|(path, _)| pure(path));
        let counted = files.iter().map(|(_, text)| assertions(text));
        let (lines, asserted) = counted.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert!(
            asserted * 1000 >= lines * 8,
            "{room}: {asserted} assertions in {lines} lines of code"
        );
    }
}

/// Of a hundred lines, how many are tests. This number only goes up, to thirty.
const TESTS_PERCENT: usize = 27;

/// The share of test folders, test modules, fuzz targets, and the rigs that try the programs from
/// outside.
#[test]
fn the_share_of_tests_only_grows() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    let (mut all, mut tests) = (0, 0);
    for (path, text) in &files {
        let part = |name: &str| path.components().any(|part| part.as_os_str() == name);
        let lines = text.lines().count();
        let module = text.split_once("#[cfg(test)]\nmod tests {");
        all += lines;
        tests += match part("tests") || part("fuzz") || part("rigs") || path.ends_with("tests.rs") {
            true => lines,
            false => module.map_or(0, |(_, module)| module.lines().count()),
        };
    }
    for entry in std::fs::read_dir(root().join("rigs")).unwrap() {
        let path = entry.unwrap().path();
        let script = path
            .extension()
            .is_some_and(|end| end == "py" || end == "sh");
        let text = script.then(|| std::fs::read_to_string(&path).unwrap());
        let lines = text.map_or(0, |text| text.lines().count());
        (all, tests) = (all + lines, tests + lines);
    }
    assert!(
        tests * 100 >= all * TESTS_PERCENT,
        "{tests} lines of tests in {all}"
    );
}
