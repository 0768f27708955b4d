//! URLs: Go's `net/url`.

use super::ip::parse_address;
use super::quote::quote;

/// A parsed URL. Its parts are bytes where %-escapes have been decoded, because these need not be UTF-8.
#[derive(Clone, Debug, Default)]
pub struct Url {
    scheme: String,
    /// What follows the scheme, if that is no slash.
    opaque: String,
    user: Option<User>,
    host: Vec<u8>,
    /// The path and fragment, decoded and as they were written.
    path: Decoded,
    fragment: Decoded,
    query: String,
    /// Whether a `?` has nothing after it.
    has_empty_query: bool,
    /// Whether a path follows the scheme: `http:/path`.
    lacks_host: bool,
}

#[derive(Clone, Debug)]
struct User {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

/// A part of a URL without %-escapes, and its own spelling.
#[derive(Clone, Debug, Default)]
struct Decoded {
    text: Vec<u8>,
    raw: String,
}

impl Decoded {
    fn new(raw: &str, part: Part) -> Result<Self, String> {
        Ok(Self { text: decode(raw, part)?, raw: raw.to_owned() })
    }

    /// Its own spelling if that is valid, or else Go's.
    fn encoded(&self, part: Part) -> String {
        let is_valid = |byte: u8| match byte {
            b'[' | b']' | b'%' => true,
            b'!' | b'\'' | b'(' | b')' | b'*' => true,
            byte => part.allows(byte),
        };
        if self.raw.bytes().all(is_valid) { self.raw.clone() } else { encode(&self.text, part) }
    }
}

impl Url {
    /// `url(string)`: `url.ParseRequestURI` decides, `url.Parse` parses.
    ///
    /// # Errors
    /// Fails with Go's text.
    pub fn new(text: &str) -> Result<Self, String> {
        parse_absolute(text)?;
        Self::parse(text)
    }

    /// `isURL`.
    pub fn is_url(text: &str) -> bool {
        parse_absolute(text).is_ok()
    }

    /// `url.Parse`: also takes relative references.
    ///
    /// # Errors
    /// Fails with Go's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut parsed = parse(url, false).map_err(|problem| failed(url, &problem))?;
        parsed.fragment = Decoded::new(fragment, Part::Fragment).map_err(|problem| failed(text, &problem))?;
        Ok(parsed)
    }

    /// In lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// With the port. Bytes that are not UTF-8 are replaced.
    pub fn host(&self) -> String {
        lossy(&self.host)
    }

    /// The user and the password, encoded.
    pub fn userinfo(&self) -> Option<String> {
        let user = self.user.as_ref()?;
        let mut text = encode(&user.name, Part::User);
        if let Some(password) = &user.password {
            text.push(':');
            text.push_str(&encode(password, Part::User));
        }
        Some(text)
    }

    /// Without %-escapes. Bytes that are not UTF-8 are replaced.
    pub fn fragment(&self) -> String {
        lossy(&self.fragment.text)
    }

    /// As it was written.
    pub fn raw_query(&self) -> &str {
        &self.query
    }

    /// Without the port and the brackets of an IPv6 address.
    pub fn hostname(&self) -> String {
        let (name, _) = self.split_host();
        let name = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")).unwrap_or(name);
        lossy(name)
    }

    /// Empty if there is none.
    pub fn port(&self) -> String {
        let (_, port) = self.split_host();
        lossy(port)
    }

    fn split_host(&self) -> (&[u8], &[u8]) {
        match self.host.iter().rposition(|byte| *byte == b':') {
            Some(colon) if is_optional_port(&self.host[colon..]) => {
                (&self.host[..colon], &self.host[colon + 1..])
            }
            _ => (&self.host, &[]),
        }
    }

    /// With %-escapes.
    pub fn escaped_path(&self) -> String {
        self.path.encoded(Part::Path)
    }

    /// The names and their values in the order of the query, without what is not well formed.
    pub fn query(&self) -> Vec<(String, Vec<String>)> {
        /// Go refuses queries with more parameters, and then has none.
        const MOST_PARAMETERS: usize = 10_000;
        if self.query.bytes().filter(|byte| *byte == b'&').count() >= MOST_PARAMETERS {
            return Vec::new();
        }
        let mut values: Vec<(String, Vec<String>)> = Vec::new();
        let mut positions = std::collections::HashMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Ok(name), Ok(value)) = (decode(name, Part::Query), decode(value, Part::Query)) else {
                continue;
            };
            let position = *positions.entry(name).or_insert_with_key(|name| {
                values.push((lossy(name), Vec::new()));
                values.len() - 1
            });
            if let Some((_, values)) = values.get_mut(position) {
                values.push(lossy(&value));
            }
        }
        values
    }
}

/// `url.URL.String()`.
impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            self.write_hierarchy(f)?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if self.has_empty_query || !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        if !self.fragment.text.is_empty() {
            write!(f, "#{}", self.fragment.encoded(Part::Fragment))?;
        }
        Ok(())
    }
}

impl Url {
    fn write_hierarchy(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.escaped_path();
        let has_authority = !self.host.is_empty() || self.user.is_some();
        let is_absolute = !self.scheme.is_empty() && !self.lacks_host;
        if has_authority || (is_absolute && !path.is_empty()) {
            f.write_str("//")?;
        }
        if let Some(user) = self.userinfo() {
            write!(f, "{user}@")?;
        }
        f.write_str(&encode(&self.host, Part::Host))?;
        let is_empty = self.scheme.is_empty() && !has_authority;
        if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
            f.write_str("/")?;
        } else if is_empty && path.split('/').next().is_some_and(|segment| segment.contains(':')) {
            // Or else the segment would read as a scheme.
            f.write_str("./")?;
        }
        f.write_str(&path)
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// `url.ParseRequestURI`.
fn parse_absolute(text: &str) -> Result<Url, String> {
    parse(text, true).map_err(|problem| failed(text, &problem))
}

fn failed(text: &str, problem: &str) -> String {
    format!("parse {}: {problem}", quote(text))
}

fn parse(text: &str, must_be_absolute: bool) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if text.is_empty() && must_be_absolute {
        return Err("empty url".to_owned());
    }
    let mut url = Url::default();
    if text == "*" {
        url.path = Decoded::new(text, Part::Path)?;
        return Ok(url);
    }
    let (scheme, rest) = split_scheme(text)?;
    url.scheme = scheme.to_ascii_lowercase();
    let mut rest = match rest.split_once('?') {
        Some((rest, query)) => {
            url.has_empty_query = query.is_empty();
            query.clone_into(&mut url.query);
            rest
        }
        None => rest,
    };
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            rest.clone_into(&mut url.opaque);
            return Ok(url);
        }
        if must_be_absolute {
            return Err("invalid URI for request".to_owned());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let may_have_host = !scheme.is_empty() || (!must_be_absolute && !rest.starts_with("///"));
    match rest.strip_prefix("//") {
        Some(after) if may_have_host => {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            (url.user, url.host) = parse_authority(&url.scheme, authority)?;
            rest = path;
        }
        _ => url.lacks_host = !scheme.is_empty(),
    }
    url.path = Decoded::new(rest, Part::Path)?;
    Ok(url)
}

/// Splits off a scheme; there is none if anything but letters, digits, `+`, `-` and `.` is before the first colon.
fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'-' | b'.'))
        .unwrap_or(text.len());
    match (&text[..end], text[end..].strip_prefix(':')) {
        ("", Some(_)) => Err("missing protocol scheme".to_owned()),
        (scheme, Some(rest)) if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) => Ok((scheme, rest)),
        _ => Ok(("", text)),
    }
}

fn parse_authority(scheme: &str, authority: &str) -> Result<(Option<User>, Vec<u8>), String> {
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok((None, parse_host(scheme, authority)?));
    };
    let host = parse_host(scheme, host)?;
    let is_valid = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !user.chars().all(is_valid) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (user, None),
    };
    let name = decode(name, Part::User)?;
    let password = password.map(|password| decode(password, Part::User)).transpose()?;
    Ok((Some(User { name, password }), host))
}

fn parse_host(scheme: &str, host: &str) -> Result<Vec<u8>, String> {
    let check_port = |port: &str| {
        if is_optional_port(port.as_bytes()) {
            Ok(())
        } else {
            Err(format!("invalid port {} after host", quote(port)))
        }
    };
    match host.rfind('[') {
        Some(1..) => return Err("invalid IP-literal".to_owned()),
        Some(0) => {
            let (address, port) = host[1..].rsplit_once(']').ok_or("missing ']' in host")?;
            check_port(port)?;
            return parse_ip_literal(address, port);
        }
        None => {}
    }
    // Only hosts of HTTP are checked for several colons.
    let is_strict = matches!(scheme, "http" | "https");
    let colon = if is_strict { host.find(':') } else { host.rfind(':') };
    check_port(&host[colon.unwrap_or(host.len())..])?;
    decode(host, Part::Host)
}

/// An IPv6 address, whose zone is after `%25`.
fn parse_ip_literal(address: &str, port: &str) -> Result<Vec<u8>, String> {
    let (name, zone) = address.split_at(address.find("%25").unwrap_or(address.len()));
    let mut decoded = decode(name, Part::Host)?;
    decoded.extend(decode(zone, Part::HostZone)?);
    match parse_address(&lossy(&decoded)) {
        Err(problem) => return Err(format!("invalid host: {problem}")),
        Ok((address, _)) if address.is_ipv4() => return Err("invalid IP-literal".to_owned()),
        Ok(_) => {}
    }
    Ok([b"[", decoded.as_slice(), b"]", port.as_bytes()].concat())
}

/// Whether this is nothing, or a colon and any number of digits.
fn is_optional_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A part of a URL, which decides what stands there without an escape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Host,
    HostZone,
    User,
    Query,
    Fragment,
}

impl Part {
    fn allows(self, byte: u8) -> bool {
        match byte {
            b'-' | b'_' | b'.' | b'~' => true,
            b'!' | b'(' | b')' | b'*' if self == Self::Fragment => true,
            b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' | b'<' | b'>' | b'"' => self.is_host(),
            b'$' | b'&' | b'+' | b',' | b';' | b'=' => self != Self::Query,
            b':' => matches!(self, Self::Path | Self::Fragment) || self.is_host(),
            b'/' | b'@' => matches!(self, Self::Path | Self::Fragment),
            b'?' => self == Self::Fragment,
            byte => byte.is_ascii_alphanumeric(),
        }
    }

    fn is_host(self) -> bool {
        matches!(self, Self::Host | Self::HostZone)
    }
}

/// Decodes %-escapes.
fn decode(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => {
                let digit = |index: usize| after.get(index).and_then(|byte| char::from(*byte).to_digit(16));
                let code = match (digit(0), digit(1)) {
                    (Some(high), Some(low)) => u8::try_from(high << 4 | low).ok(),
                    _ => None,
                };
                // A host has only escapes of bytes that ASCII lacks, its zone also of what a host may have.
                let code = code.filter(|code| match part {
                    Part::Host => *code >= 0x80 || *code == b'%',
                    Part::HostZone => matches!(code, b'%' | b' ') || Part::Host.allows(*code),
                    _ => true,
                });
                let invalid = || {
                    let start = text.len() - after.len() - 1;
                    let escape = text.as_bytes().get(start..).unwrap_or_default();
                    format!("invalid URL escape {}", quote(escape.get(..3).unwrap_or(escape)))
                };
                out.push(code.ok_or_else(invalid)?);
                rest = after.get(2..).unwrap_or_default();
            }
            b'+' if part == Part::Query => out.push(b' '),
            byte if part.is_host() && byte.is_ascii() && !part.allows(*byte) => {
                let character = char::from(*byte).to_string();
                return Err(format!("invalid character {} in host name", quote(&character)));
            }
            byte => out.push(*byte),
        }
    }
    Ok(out)
}

fn encode(text: &[u8], part: Part) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        if part.allows(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_go() {
        for (text, [scheme, host, hostname, port, path]) in [
            (
                "HTTP://u:p@Example.com:80/a%2Fb?q#f",
                ["http", "Example.com:80", "Example.com", "80", "/a%2Fb"],
            ),
            ("https://[fe80::1%25en0]:443", ["https", "[fe80::1%en0]:443", "fe80::1%en0", "443", ""]),
            ("http://h:99999/", ["http", "h:99999", "h", "99999", "/"]),
            ("http://", ["http", "", "", "", ""]),
            ("/x", ["", "", "", "", "/x"]),
            ("mailto:a@b", ["mailto", "", "", "", ""]),
            ("http://h/a[1]!", ["http", "h", "h", "", "/a[1]!"]),
        ] {
            let url = Url::new(text).unwrap();
            let parts = [url.scheme.clone(), url.host(), url.hostname(), url.port(), url.escaped_path()];
            assert_eq!(parts, [scheme, host, hostname, port, path], "{text}");
        }
    }

    #[test]
    fn bad_urls_have_the_errors_of_go() {
        for (text, problem) in [
            ("", "empty url"),
            ("a/b", "invalid URI for request"),
            (":x", "missing protocol scheme"),
            ("http://h\n", "net/url: invalid control character in URL"),
            ("http://h/%zz", r#"invalid URL escape "%zz""#),
            ("http://h/%4", r#"invalid URL escape "%4""#),
            ("http://h:a/", r#"invalid port ":a" after host"#),
            ("http://a:1:2/", r#"invalid port ":1:2" after host"#),
            ("http://a b/", r#"invalid character " " in host name"#),
            ("http://%41/", r#"invalid URL escape "%41""#),
            ("http://[::1/", "missing ']' in host"),
            ("http://x[::1]/", "invalid IP-literal"),
            ("http://[1.2.3.4]/", "invalid IP-literal"),
            (
                "http://[::g]/",
                r#"invalid host: ParseAddr("::g"): each colon-separated field must have at least one digit (at "g")"#,
            ),
            ("http://ü@h/", "net/url: invalid userinfo"),
        ] {
            assert_eq!(Url::new(text).unwrap_err(), format!("parse {}: {problem}", quote(text)));
        }
        assert_eq!(Url::parse("a:b:/").map(|url| url.to_string()).as_deref(), Ok("a:b:/"));
        assert_eq!(
            Url::parse("1a:b").unwrap_err(),
            r#"parse "1a:b": first path segment in URL cannot contain colon"#
        );
    }

    #[test]
    fn urls_are_printed_as_by_go() {
        for (text, printed) in [
            ("http://u:p%3A@h/ä?#", "http://u:p%3A@h/%C3%A4?"),
            ("http:/x", "http:/x"),
            ("http:///x", "http:///x"),
            ("http://?a", "http:?a"),
            ("//h/p#a b", "//h/p#a%20b"),
            ("a:b/c?d#e", "a:b/c?d#e"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn queries_are_lists_by_name() {
        let url = Url::new("http://h/?b=1&a=x+y&b=%32&c&&=e&bad=%zz&s;t=1").unwrap();
        let expected = [("b", vec!["1", "2"]), ("a", vec!["x y"]), ("c", vec![""]), ("", vec!["e"])];
        let query = url.query();
        let query: Vec<_> = query
            .iter()
            .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        assert_eq!(query, expected);
    }
}
