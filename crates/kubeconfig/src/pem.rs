//! PEM files as Go reads them (`encoding/pem`): whatever is not a complete block is skipped.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Go's `base64.StdEncoding`: padded, but the unused bits of the last character may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// A block between `-----BEGIN label-----` and `-----END label-----`.
pub(crate) struct Block {
    pub(crate) label: String,
    /// The headers before the content, such as `Proc-Type: 4,ENCRYPTED`.
    pub(crate) headers: Vec<String>,
    pub(crate) content: Vec<u8>,
}

/// A block whose end was not found yet.
struct Open {
    label: String,
    headers: Vec<String>,
    text: Vec<u8>,
}

/// Returns the complete blocks of a file, in order.
pub(crate) fn blocks(pem: &[u8]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Open> = None;
    for line in pem.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        if let Some(label) = between(line, "-----BEGIN ") {
            open = Some(Open { label, headers: Vec::new(), text: Vec::new() });
        } else if let Some(label) = between(line, "-----END ") {
            found.extend(open.take().filter(|open| open.label == label).and_then(Open::close));
        } else if let Some(open) = &mut open {
            open.add(line);
        }
    }
    found
}

impl Open {
    fn add(&mut self, line: &[u8]) {
        if self.text.is_empty() && line.contains(&b':') {
            self.headers.push(String::from_utf8_lossy(line).into_owned());
        } else {
            self.text.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
    }

    /// Returns `None` if the content is not Base64.
    fn close(self) -> Option<Block> {
        let content = BASE64.decode(&self.text).ok()?;
        Some(Block { label: self.label, headers: self.headers, content })
    }
}

fn between(line: &[u8], start: &str) -> Option<String> {
    let label = line.strip_prefix(start.as_bytes())?.strip_suffix(b"-----")?;
    Some(String::from_utf8_lossy(label).into_owned())
}

/// Returns the certificates of a bundle, and skips everything else. Source: Go `crypto/x509`, `AppendCertsFromPEM`.
pub(crate) fn authorities(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    blocks(pem)
        .into_iter()
        .filter(|block| block.label == "CERTIFICATE" && block.headers.is_empty())
        .filter(|block| X509Certificate::from_der(&block.content).is_ok_and(|(rest, _)| rest.is_empty()))
        .map(|block| CertificateDer::from(block.content))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pem: &str) -> Vec<String> {
        blocks(pem.as_bytes()).into_iter().map(|block| block.label).collect()
    }

    // Each answer is that of Go's `pem.Decode`, called until it finds nothing.
    #[test]
    fn blocks_are_found_as_go_finds_them() {
        let good = "-----BEGIN A-----\nAAEC\n-----END A-----\n";
        for (pem, want) in [
            (good.to_owned(), vec!["A"]),
            (good.replace('\n', "\r\n"), vec!["A"]),
            (good.trim_end().to_owned(), vec!["A"]),
            (format!("subject=/CN=x\n{good}text\n{good}"), vec!["A", "A"]),
            (format!("-----BEGIN B-----\nAAEC\n{good}"), vec!["A"]),
            (format!("-----BEGIN B-----\n!!!!\n-----END B-----\n{good}"), vec!["A"]),
            (format!("-----BEGIN B-----\nAAE\n-----END B-----\n{good}"), vec!["A"]),
            (format!("-----BEGIN B-----\nAAEC\n-----END C-----\n{good}"), vec!["A"]),
            (format!("{good}-----BEGIN B-----\nAAEC\n"), vec!["A"]),
            (format!("  {good}"), vec![]),
            ("-----BEGIN A-----\nA A\tEC \n-----END A-----  \n".to_owned(), vec!["A"]),
            ("-----BEGIN A-----\nAAF=\n-----END A-----\n".to_owned(), vec!["A"]),
            ("-----BEGIN A-----\nkey: value\n\nAAEC\n-----END A-----\n".to_owned(), vec!["A"]),
            ("-----BEGIN A-----\n-----END A-----\n".to_owned(), vec!["A"]),
            (String::new(), vec![]),
            ("garbage".to_owned(), vec![]),
        ] {
            assert_eq!(labels(&pem), want, "{pem}");
        }
    }

    #[test]
    fn headers_are_apart_from_the_content() {
        let pem = "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAEC\n-----END A-----\n";
        let block = blocks(pem.as_bytes()).remove(0);
        assert_eq!(block.headers, ["Proc-Type: 4,ENCRYPTED", "DEK-Info: x"]);
        assert_eq!(block.content, [0, 1, 2]);
    }
}
