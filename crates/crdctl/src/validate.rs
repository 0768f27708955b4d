//! `crdctl crd validate`: CustomResourceDefinitions in files, as kube-apiserver would judge them. An embedded server does it, so
//! no cluster is needed.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use kube_embedded::{Server, Service};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::stdio::{print, printable};

const CREATE: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All&fieldValidation=Warn";
const KIND: &str = "CustomResourceDefinition";

/// Prints a line for each error and warning, or one for a definition that has no error. Fails with code 1 if one has.
pub(crate) async fn run(files: &[PathBuf]) -> Result<ExitCode> {
    let service = Server::start().service();
    let (mut found, mut all_valid) = (false, true);
    for file in files {
        for definition in definitions(&read(file)?).with_context(|| format!("reading {}", file.display()))? {
            found = true;
            all_valid &= judge(&service, &definition).await?;
        }
    }
    if !found {
        bail!("no {KIND} found");
    }
    Ok(if all_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads a file, or standard input for `-`.
fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
    } else {
        text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    }
    Ok(text)
}

/// The definitions in documents of YAML or JSON, which may be lists. Everything else is skipped.
fn definitions(text: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for (number, document) in (1..).zip(documents(text)) {
        let value: Value =
            serde_saphyr::from_str(&document).with_context(|| format!("document {number} is not YAML"))?;
        match value["items"].as_array() {
            Some(items) => found.extend(items.iter().filter(|item| item["kind"] == KIND).cloned()),
            None if value["kind"] == KIND => found.push(value),
            None => {}
        }
    }
    Ok(found)
}

/// Splits a stream of YAML at the lines that begin with `---`, as kubectl does.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
        }
    }
    let has_content = |document: &String| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.into_iter().filter(has_content).collect()
}

/// Prints what the server says about a definition. Returns whether it accepts it.
async fn judge(service: &Service, definition: &Value) -> Result<bool> {
    let name = definition["metadata"]["name"].as_str().unwrap_or("(without a name)");
    let request = Request::post(CREATE)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(serde_json::to_vec(definition).context("writing JSON")?))
        .context("making a request")?;
    let (head, body) = service.clone().oneshot(request).await?.into_parts();
    let body = body.collect().await.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    let line = |text: &str| {
        // The place in a rule is shown below the error.
        let lines: Vec<_> = text.lines().map(printable).collect();
        print(&format!("{}: {}\n", printable(name), lines.join("\n    ")))
    };
    for warning in head.headers.get_all(header::WARNING) {
        // RFC 9111, section 5.5: a code, an agent, and the text in quotes.
        let text = String::from_utf8_lossy(warning.as_bytes()).into_owned();
        let quoted = text.splitn(3, ' ').nth(2).unwrap_or(&text).trim_matches('"');
        line(&format!("warning: {}", quoted.replace("\\\"", "\"").replace("\\\\", "\\")))?;
    }
    if head.status == StatusCode::CREATED {
        line("valid")?;
        return Ok(true);
    }
    let status: Value = serde_json::from_slice(&body).context("reading the server's answer")?;
    let causes = status["details"]["causes"].as_array().map_or(&[][..], Vec::as_slice);
    for cause in causes {
        let part = |field: &str| cause[field].as_str().unwrap_or_default();
        line(&format!("{}: {}", part("field"), part("message")))?;
    }
    if causes.is_empty() {
        line(status["message"].as_str().unwrap_or("refused"))?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_found_among_other_documents() {
        let text = "# first\n---\nkind: Other\n---\nkind: CustomResourceDefinition\nmetadata: {name: a}\n--- # b\n\
                    kind: List\nitems: [{kind: CustomResourceDefinition, metadata: {name: b}}, {kind: Other}]\n---\n";
        let names: Vec<_> =
            definitions(text).unwrap().iter().map(|it| it["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(definitions(r#"{"kind": "CustomResourceDefinition"}"#).unwrap().len(), 1);
        let wrong = definitions("a: b\n---\na: [\n").unwrap_err();
        assert_eq!(wrong.to_string(), "document 2 is not YAML");
    }
}
