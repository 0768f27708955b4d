//! Runs the checks of the fuzz targets in tests, on the seeds in `fuzz/seeds` and on inputs that are made of their parts.
//!
//! The checks are in the module `fuzz` of the crates that they check; `fuzz/README.md` describes how to run a fuzzer.

use std::{fs, path::Path};

use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

/// Returns the seeds of a target.
///
/// # Panics
/// Panics if it has none.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let seeds: Vec<_> = files.flatten().map(|file| read(&file.path())).collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds
}

/// Checks the seeds of a target, and `cases` inputs that are made of their parts.
///
/// # Panics
/// Panics if an input fails the check.
pub fn check(target: &str, cases: u32, check: impl Fn(&[u8])) {
    seeds(target).iter().for_each(|seed| check(seed));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&spliced(target), |input| {
        check(&input);
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{target}: {error}");
    }
}

/// Concatenates parts of the seeds, and changes a few bytes.
fn spliced(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let part = (select(seeds(target)), any::<Index>(), 0..200_usize).prop_map(|(seed, from, length)| {
        let from = from.index(seed.len() + 1);
        seed[from..(from + length).min(seed.len())].to_vec()
    });
    let changes = proptest::collection::vec((any::<Index>(), any::<u8>()), 0..3);
    (proptest::collection::vec(part, 1..6), changes).prop_map(|(parts, changes)| {
        let mut bytes = parts.concat();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn inputs_are_the_seeds_and_others() {
        let (count, others) = (Cell::new(0), RefCell::new(0));
        let all = seeds("lines");
        check("lines", 50, |input| {
            count.set(count.get() + 1);
            *others.borrow_mut() += usize::from(!all.iter().any(|seed| seed == input));
        });
        assert_eq!(count.get(), all.len() + 50);
        assert!(*others.borrow() > 25);
    }

    #[test]
    #[should_panic(expected = "lines: Test failed")]
    fn a_failing_input_panics() {
        let all = seeds("lines");
        check("lines", 50, |input| assert!(all.iter().any(|seed| seed == input)));
    }
}
