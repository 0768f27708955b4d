//! Paths from a variable to a declaration.

/// A path: its steps are those of an array of [`Paths`], up to a length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    array: usize,
    len: usize,
}

/// The memory of paths.
///
/// cel-go's estimator extends a path with Go's `append`, which writes into the memory of the path if that has room. So a path
/// changes when another one, extended from the same start, takes its place: in
/// `self.items.all(i, i.tags.all(t, t == i.name))`, `i.tags` becomes `i.name` before its size is asked for, and the loop is
/// charged by the maximum length of the name. Estimates decide whether a rule is accepted, so memory is shared here in the
/// same way.
#[derive(Debug, Default)]
pub(super) struct Paths<'a> {
    arrays: Vec<Array<'a>>,
}

#[derive(Debug)]
struct Array<'a> {
    steps: Vec<&'a str>,
    /// Go's capacity, which `steps` never exceeds.
    capacity: usize,
}

impl<'a> Paths<'a> {
    pub(super) fn variable(&mut self, name: &'a str) -> Path {
        self.extend(None, name)
    }

    pub(super) fn extend(&mut self, path: Option<Path>, step: &'a str) -> Path {
        let mut extended = Array { steps: Vec::new(), capacity: 1 };
        if let Some(Path { array, len }) = path
            && let Some(shared) = self.arrays.get_mut(array)
        {
            if len < shared.capacity {
                match shared.steps.get_mut(len) {
                    Some(place) => *place = step,
                    None => shared.steps.push(step),
                }
                return Path { array, len: len + 1 };
            }
            extended.steps.extend(shared.steps.iter().take(len));
            // Exact up to 512 steps; no schema is deeper.
            extended.capacity = shared.capacity * 2;
        }
        extended.steps.push(step);
        let len = extended.steps.len();
        self.arrays.push(extended);
        Path { array: self.arrays.len() - 1, len }
    }

    pub(super) fn steps(&self, path: Path) -> &[&'a str] {
        self.arrays.get(path.array).and_then(|array| array.steps.get(..path.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Paths;

    #[test]
    fn paths_share_memory_as_slices_do() {
        let mut paths = Paths::default();
        let root = paths.variable("self");
        let items = paths.extend(Some(root), "items");
        let item = paths.extend(Some(items), "@items");
        let tags = paths.extend(Some(item), "tags");
        let tag = paths.extend(Some(tags), "@items");
        let name = paths.extend(Some(item), "name");
        assert_eq!(paths.steps(name), ["self", "items", "@items", "name"]);
        assert_eq!(paths.steps(tags), paths.steps(name));
        assert_eq!(paths.steps(tag), ["self", "items", "@items", "tags", "@items"]);
        assert_eq!(paths.steps(items), ["self", "items"]);
    }
}
