//! The columns of `kubectl get -o custom-columns`.

use kube_selectors::{EvaluateError, JsonPath, ParseError};
use kube_validation::go;
use serde_json::Value;

/// The columns that a user asks for: `-o custom-columns=NAME:.metadata.name,URL:.spec.url`.
///
/// The rules are those of `k8s.io/kubectl/pkg/cmd/get/customcolumn.go`, except that a malformed path is an error of the
/// columns, where kubectl has it after it printed the headers. kubectl separates the columns by three spaces at least, and
/// prints the headers as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomColumns(Vec<(String, JsonPath)>);

/// The reason why custom columns were refused. The messages are kubectl's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CustomColumnsError {
    /// There is no text.
    #[error("custom-columns format specified but no custom columns given")]
    Empty,
    /// A column has no colon.
    #[error("unexpected custom-columns spec: {0}, expected <header>:<json-path-expr>")]
    NoPath(String),
    /// A path is malformed.
    #[error(transparent)]
    Path(#[from] ParseError),
    /// A file has no first or no second line: `header` or `spec`.
    #[error(
        "invalid template, missing {0} line. Expected format is one line of space separated headers, one line of space \
         separated column specs."
    )]
    MissingLine(&'static str),
    /// A file has more headers than paths, or fewer.
    #[error("number of headers ({headers}) and field specifications ({paths}) don't match")]
    Count {
        /// The number of headers.
        headers: usize,
        /// The number of paths.
        paths: usize,
    },
}

impl CustomColumns {
    /// Parses the text after `custom-columns=`: `HEADER:PATH` separated by commas, which therefore cannot be in a path. Paths
    /// are [relaxed](JsonPath::parse_relaxed); the cells of an empty path are `<none>`.
    ///
    /// # Errors
    /// Fails if there is no column, or if one is malformed.
    pub fn parse(columns: &str) -> Result<Self, CustomColumnsError> {
        if columns.is_empty() {
            return Err(CustomColumnsError::Empty);
        }
        let pairs = columns.split(',').map(|column| {
            column.split_once(':').ok_or_else(|| CustomColumnsError::NoPath(column.to_owned()))
        });
        Self::from_pairs(pairs.collect::<Result<Vec<_>, _>>()?)
    }

    /// Parses the text of the file of `custom-columns-file=`: a line of headers and a line of paths, separated by spaces.
    /// Further lines are ignored. For such columns kubectl ignores `--no-headers`.
    ///
    /// # Errors
    /// Fails if a line is missing, if their numbers of words differ, or if a path is malformed.
    pub fn from_file_text(text: &str) -> Result<Self, CustomColumnsError> {
        let mut lines = text.lines().map(|line| line.split_whitespace());
        let headers = lines.next().ok_or(CustomColumnsError::MissingLine("header"))?;
        let paths = lines.next().ok_or(CustomColumnsError::MissingLine("spec"))?;
        let count = (headers.clone().count(), paths.clone().count());
        if count.0 != count.1 {
            return Err(CustomColumnsError::Count { headers: count.0, paths: count.1 });
        }
        Self::from_pairs(headers.zip(paths))
    }

    fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CustomColumnsError> {
        let column = |(header, path): (&str, &str)| Ok((header.to_owned(), JsonPath::parse_relaxed(path)?));
        pairs.into_iter().map(column).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(header, _)| header.as_str())
    }

    /// Returns the cells of one object, one per column: the values of its path separated by commas, as Go prints them
    /// (`map[a:b]`, `[a b]`, `<nil>`), or `<none>` without any. Escape characters and carriage returns are replaced by `^[`
    /// and `\r`, as by kubectl; newlines are kept.
    ///
    /// # Errors
    /// Fails if a path does not fit the object, such as by an index that is out of bounds. kubectl then prints no more
    /// objects.
    pub fn cells(&self, object: &Value) -> Result<Vec<String>, EvaluateError> {
        self.0.iter().map(|(_, path)| path.find(object).map(|found| cell(&found))).collect()
    }
}

fn cell(found: &[&Value]) -> String {
    if found.is_empty() {
        return "<none>".to_owned();
    }
    let texts: Vec<String> = found.iter().map(|value| go::value(value)).collect();
    texts.join(",").replace('\x1b', "^[").replace('\r', "\\r")
}
