//! `crdctl envtest`: a folder with the pair of programs that Kubernetes' test environments start, `kube-apiserver` and `etcd`.
//!
//! Both are links to this program, which acts by the name that it is called by. So they are always of its version.

mod apiserver;
mod etcd;
mod flags;
mod tokens;

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use crate::{
    cli::{EnvtestArgs, EnvtestOutput},
    program,
    stdio::{in_quotes, print},
};

/// A file in a folder whose API server runs controllers.
const CONTROLLERS: &str = ".controllers";
/// The environment variable that turns them on in any folder.
const VARIABLE: &str = "KUBE_EMBEDDED_CONTROLLERS";

/// A program of the pair.
#[derive(Clone, Copy)]
pub(crate) enum Member {
    ApiServer,
    Etcd,
}

impl Member {
    /// Returns the program as which this one was called, if it is one of the pair.
    pub(crate) fn called() -> Option<Self> {
        match program::called().as_str() {
            "kube-apiserver" => Some(Self::ApiServer),
            "etcd" => Some(Self::Etcd),
            _ => None,
        }
    }

    /// Runs the program with the arguments of this process.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let line = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        match self {
            Self::ApiServer => apiserver::run(line, wants_controllers()).await,
            Self::Etcd => etcd::run(line).await,
        }
    }
}

/// Makes the folder, and prints it.
pub(crate) fn run(args: &EnvtestArgs) -> Result<ExitCode> {
    let folder = match &args.path {
        Some(path) => path.clone(),
        None => default_folder(args.controllers)?,
    };
    let folder = std::path::absolute(&folder).with_context(|| format!("finding {}", folder.display()))?;
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let own = own_path()?;
    for name in ["kube-apiserver", "etcd"] {
        link(&own, &folder.join(name))?;
    }
    if let Some(kubectl) = in_path("kubectl").filter(|found| found.parent() != Some(&*folder)) {
        link(&kubectl, &folder.join("kubectl"))?;
    }
    let mark = folder.join(CONTROLLERS);
    let marked = if args.controllers { fs::write(&mark, "") } else { absent(fs::remove_file(&mark)) };
    marked.with_context(|| format!("writing {}", mark.display()))?;
    let folder = folder.display();
    print(&match args.print {
        EnvtestOutput::Path => format!("{folder}\n"),
        EnvtestOutput::Env => format!("export KUBEBUILDER_ASSETS={}\n", in_quotes(&folder.to_string())),
    })
}

/// The folder for users who name none: in the place for data of programs (XDG Base Directory Specification).
fn default_folder(controllers: bool) -> Result<PathBuf> {
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/share"));
    let data = data.or_else(home).context("there is no home folder; name one with --path")?;
    Ok(data.join("crdctl").join(if controllers { "envtest-controllers" } else { "envtest" }))
}

/// Makes `path` a link to `target`. Others may do the same at the same time.
fn link(target: &Path, path: &Path) -> Result<()> {
    if fs::read_link(path).is_ok_and(|existing| existing == target) {
        return Ok(());
    }
    // Replaced in one step, so that the program is always there.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(name);
    absent(fs::remove_file(&new))
        .and_then(|()| symlink(target, &new))
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("linking {} to {}", path.display(), target.display()))
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Returns the path by which this program was found. It stays valid when a package manager replaces the program, which the
/// path of the executable itself may not.
fn own_path() -> Result<PathBuf> {
    let executable = env::current_exe().context("finding this program")?;
    let same = |path: &PathBuf| {
        fs::canonicalize(path).is_ok_and(|real| Some(real) == fs::canonicalize(&executable).ok())
    };
    Ok(called_path().filter(same).unwrap_or(executable))
}

/// Returns the path of the file, which may be a link, by which this program was called.
fn called_path() -> Option<PathBuf> {
    let called = PathBuf::from(env::args_os().next()?);
    match called.components().count() {
        1 => in_path(&called.to_string_lossy()),
        _ => std::path::absolute(called).ok(),
    }
}

/// Returns the file that a shell finds by a name.
fn in_path(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether the API server is to run controllers: for the folder in which it was called, or by the environment.
fn wants_controllers() -> bool {
    if let Some(value) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        return value != "0" && value != "false";
    }
    called_path().and_then(|path| Some(path.parent()?.join(CONTROLLERS))).is_some_and(|mark| mark.exists())
}
