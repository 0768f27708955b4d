//! The files of a release: for each target, an archive with a static `crdctl`, its manual and its completion scripts, and an
//! SBOM; for all targets together, checksums and a manifest for krew.
//!
//! Builds are reproducible: entries are sorted, all times are that of the commit, and the binary contains no paths of the
//! machine that builds it.

mod archive;
mod binary;
mod build;
mod contents;
mod krew;
mod packages;
mod sbom;
#[cfg(test)]
mod script;
mod target;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::digest::{SHA256, digest};
use cargo_metadata::{Metadata, MetadataCommand};
use clap::Args;

use self::{archive::Archive, build::Program, contents::Files, packages::Packages, target::Target};

/// The package that is released, and its binary.
const NAME: &str = "crdctl";

/// The command's arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A target to build for; may be repeated [default: the one for this machine's processor]
    #[arg(long = "target", value_enum, value_name = "TARGET")]
    targets: Vec<Target>,
    /// The repository's URL, such as `https://example.com/owner/name`, from which the krew manifest downloads
    /// [default: from GITHUB_SERVER_URL and GITHUB_REPOSITORY, or `repository` in Cargo.toml; without them, no manifest]
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    /// Also write the program for the container image to `image/ARCHITECTURE`
    #[arg(long)]
    image: bool,
    /// The folder to write to, whose old contents are removed [default: `dist` in cargo's target folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Builds everything and prints the path of each file.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's results, and what it skipped")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let targets = match arguments.targets.as_slice() {
        [] => vec![Target::of_host()?],
        targets => targets.to_vec(),
    };
    // Reports missing tools before anything is built.
    for target in &targets {
        build::check(*target)?;
    }
    let mut command = MetadataCommand::new();
    // Excludes the packages of other platforms, which would have to be downloaded to be listed.
    let platforms = targets.iter().map(|target| format!("--filter-platform={target}"));
    command.other_options(platforms.chain(["--locked".to_owned()]).collect::<Vec<_>>());
    let metadata = command.exec().context("reading the workspace with cargo")?;
    let package = metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name.as_str() == NAME)
        .with_context(|| format!("the workspace has no package {NAME}"))?;
    let version = package.version.to_string();
    let time = source_time(metadata.workspace_root.as_std_path())?;
    let out = arguments.out.clone().unwrap_or_else(|| metadata.target_directory.join("dist").into());
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("removing {}", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;

    let mut programs = Vec::new();
    for target in targets {
        let program = build::build(&metadata, NAME, target)?;
        if !program.runs {
            eprintln!("not run: this machine cannot execute programs for {target}");
        }
        programs.push(program);
    }

    let generated = generated(&metadata, &programs)?;
    let mut sums = Vec::new();
    let mut downloads = Vec::new();
    for program in &programs {
        let target = program.target;
        let packages = Packages::of_binary(&metadata, NAME, target)?;
        let name = format!("{NAME}-{version}-{target}");
        let mut archive = Archive::new(&name, time);
        archive.executable(NAME, program.contents.clone());
        for (path, contents) in generated.iter().chain(&contents::documents(&metadata, package, &packages)?) {
            archive.file(path, contents.clone());
        }
        let packed = archive.pack().with_context(|| format!("packing {name}"))?;
        let file = format!("{name}.tar.gz");
        downloads.push(krew::Download { target, file: file.clone(), sha256: sha256(&packed) });
        sums.push(write(&out, &file, &packed)?);
        let bom =
            sbom::json(&packages, target, time).with_context(|| format!("writing the SBOM of {name}"))?;
        sums.push(write(&out, &format!("{name}.cdx.json"), &bom)?);
    }
    match repository(arguments, package.repository.as_deref(), |name| env::var(name).ok()) {
        Some(repository) => {
            let about = package.description.as_deref().unwrap_or_default();
            let manifest = krew::manifest(NAME, &version, about, &repository, &downloads)?;
            sums.push(write(&out, &format!("{}.yaml", krew::PLUGIN), manifest.as_bytes())?);
        }
        None => eprintln!(
            "no krew manifest: the URL of the repository is not known (set --repository, GITHUB_REPOSITORY, or `repository` in \
             Cargo.toml)"
        ),
    }
    sums.sort_by(|a, b| a.file.cmp(&b.file));
    let list: String = sums.iter().map(|sum| format!("{}  {}\n", sum.sha256, sum.file)).collect();
    write(&out, "SHA256SUMS", list.as_bytes())?;
    for file in sums.iter().map(|sum| sum.file.as_str()).chain(["SHA256SUMS"]) {
        println!("{}", out.join(file).display());
    }

    if arguments.image {
        for program in &programs {
            let folder = out.join("image").join(program.target.architecture());
            fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
            let path = folder.join(NAME);
            // Copying preserves the file's mode.
            fs::copy(&program.path, &path).with_context(|| format!("writing {}", path.display()))?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// Returns the completion scripts and manual pages, generated by a program that runs here.
fn generated(metadata: &Metadata, programs: &[Program]) -> Result<Files> {
    match programs.iter().find(|program| program.runs) {
        Some(program) => contents::generated(&program.path),
        None => contents::generated(&build::for_this_machine(metadata, NAME)?),
    }
}

/// A file that was written, and its checksum.
struct Sum {
    file: String,
    sha256: String,
}

fn write(folder: &Path, file: &str, contents: &[u8]) -> Result<Sum> {
    let path = folder.join(file);
    fs::write(&path, contents).with_context(|| format!("writing {}", path.display()))?;
    Ok(Sum { file: file.to_owned(), sha256: sha256(contents) })
}

fn sha256(contents: &[u8]) -> String {
    digest(&SHA256, contents).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the time of all files, in seconds since 1970: `SOURCE_DATE_EPOCH`, else the time of the commit.
fn source_time(root: &Path) -> Result<u64> {
    if let Some(text) = env::var_os("SOURCE_DATE_EPOCH") {
        let seconds = text.to_str().and_then(|text| text.parse().ok());
        return seconds.with_context(|| format!("SOURCE_DATE_EPOCH is {}, not seconds", text.display()));
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(root);
    let output = git.output().context("starting git to read the time of the commit")?;
    if !output.status.success() {
        bail!("git cannot read the time of the commit ({}); set SOURCE_DATE_EPOCH", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("git printed {text:?} as the time of the commit"))
}

/// Returns the repository's URL, if it is known.
fn repository(
    arguments: &Arguments,
    package: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let on_github = || Some(format!("{}/{}", variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?));
    let url = arguments.repository.clone().or_else(on_github).or_else(|| package.map(str::to_owned))?;
    Some(url.trim_end_matches('/').trim_end_matches(".git").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_sha256sum() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_repository_is_the_argument_then_githubs_then_the_packages() {
        let arguments = |repository: Option<&str>| Arguments {
            targets: Vec::new(),
            repository: repository.map(str::to_owned),
            image: false,
            out: None,
        };
        let github = |name: &str| match name {
            "GITHUB_SERVER_URL" => Some("https://github.example".to_owned()),
            "GITHUB_REPOSITORY" => Some("owner/name".to_owned()),
            _ => None,
        };
        let nothing = |_: &str| None;
        let package = Some("https://package.example/o/n.git");
        let asked = arguments(Some("https://asked.example/o/n/"));
        assert_eq!(repository(&asked, package, github).as_deref(), Some("https://asked.example/o/n"));
        let found = repository(&arguments(None), package, github);
        assert_eq!(found.as_deref(), Some("https://github.example/owner/name"));
        let found = repository(&arguments(None), package, nothing);
        assert_eq!(found.as_deref(), Some("https://package.example/o/n"));
        assert_eq!(repository(&arguments(None), None, nothing), None);
    }
}
