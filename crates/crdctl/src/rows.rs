//! The columns that the server prints for a type, as `kubectl get` shows them.
//!
//! The server turns objects into the rows of a `Table` (meta.k8s.io/v1) if a client asks for it, which needs no right to read
//! a CRD. [`client`] asks for tables in place of an informer, and gives the informer the objects in the rows, each with its
//! cells in the field [`CELLS`].

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body, core::ApiResource};
use serde::Deserialize;
use serde_json::value::RawValue;
use tower::{BoxError, service_fn};

use crate::resource::group_version_path;

/// The field with a row's cells. No object has a field of this name, because a schema cannot define it.
pub(crate) const CELLS: &str = "$cells";

/// A longer line is passed on as it is. An object takes at most 1.5 MiB, etcd's limit.
const LONGEST_LINE: usize = 64 << 20;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,\
     application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";

/// A column of the server's tables.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// `name` for the column with the name of the object.
    #[serde(default)]
    pub(crate) format: String,
    /// Columns with a priority are shown in wide tables only.
    #[serde(default)]
    pub(crate) priority: i64,
}

/// The columns of a type as the server last sent them, which changes with its CRD. `None`: the server sends objects instead of
/// tables, as some aggregated API servers do.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    columns: Arc<Mutex<Option<Arc<[Column]>>>>,
}

/// How much of each object the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Object,
    Metadata,
}

impl Rows {
    #[cfg(test)]
    pub(crate) fn fixed(columns: Vec<Column>) -> Self {
        Self { columns: Arc::new(Mutex::new(Some(columns.into()))) }
    }

    /// Returns the columns.
    pub(crate) fn columns(&self) -> Option<Arc<[Column]>> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Turns a table into a list of its objects. Whatever else the server sent is returned as it is.
    fn list(&self, body: &Bytes) -> Bytes {
        let Some(table) = self.read(body) else { return body.clone() };
        let items: Vec<String> = table.rows.iter().map(Row::object).collect();
        Bytes::from(format!(
            r#"{{"kind":"List","apiVersion":"v1","metadata":{},"items":[{}]}}"#,
            table.metadata.get(),
            items.join(",")
        ))
    }

    /// Turns the lines of a watch for tables into those of a watch for objects, as they arrive.
    fn events<B>(self, body: B) -> impl Stream<Item = Result<Bytes, BoxError>> + Send
    where
        B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let state = (self, Box::pin(BodyStream::new(body)), Vec::new());
        stream::unfold(state, async |(rows, mut body, mut partial)| {
            loop {
                let chunk = match body.next().await? {
                    Ok(frame) => frame.into_data().unwrap_or_default(),
                    Err(error) => return Some((Err(error.into()), (rows, body, partial))),
                };
                partial.extend_from_slice(&chunk);
                // The informer refuses a line that is too long.
                if partial.len() > LONGEST_LINE {
                    return Some((Ok(Bytes::from(std::mem::take(&mut partial))), (rows, body, partial)));
                }
                let Some(end) = partial.iter().rposition(|byte| *byte == b'\n') else { continue };
                let rest = partial.split_off(end + 1);
                let lines = std::mem::replace(&mut partial, rest);
                let mut events = Vec::with_capacity(lines.len());
                for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    match rows.event(line) {
                        Some(event) => events.extend_from_slice(event.as_bytes()),
                        None => events.extend_from_slice(line),
                    }
                    events.push(b'\n');
                }
                return Some((Ok(Bytes::from(events)), (rows, body, partial)));
            }
        })
    }

    /// Turns an event with a table of one row into one with the object. `None` for any other event, such as an error.
    fn event(&self, line: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Event<'a> {
            r#type: &'a str,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        let event: Event<'_> = serde_json::from_slice(line).ok()?;
        let table = self.read(event.object.get().as_bytes())?;
        let [row] = &table.rows[..] else { return None };
        Some(format!(r#"{{"type":"{}","object":{}}}"#, event.r#type, row.object()))
    }

    /// Reads a table, and remembers its columns. The first event of a watch has them, others do not.
    fn read<'a>(&self, json: &'a [u8]) -> Option<Table<'a>> {
        let table: Table<'a> =
            serde_json::from_slice(json).ok().filter(|table: &Table<'_>| table.kind == "Table")?;
        if let Some(columns) = table.column_definitions.as_ref().filter(|columns| !columns.is_empty()) {
            let mut known = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
            if known.as_deref() != Some(&columns[..]) {
                *known = Some(columns.clone().into());
            }
        }
        Some(table)
    }
}

/// The objects of a type, and the form in which to ask for them.
#[derive(Clone)]
pub(crate) struct Collection {
    /// The path of the group and version, with a slash at the end.
    base: String,
    /// The plural name, with a slash before it.
    plural: String,
    form: Form,
}

/// A form of objects.
#[derive(Clone)]
pub(crate) enum Form {
    /// Rows of tables.
    Rows(Rows, Include),
    /// `PartialObjectMetadata`.
    Metadata,
}

impl Collection {
    pub(crate) fn new(api: &ApiResource, form: Form) -> Self {
        let base = group_version_path(api) + "/";
        Self { base, plural: format!("/{}", api.plural), form }
    }

    fn contains(&self, request: &Request<Body>) -> bool {
        let path = request.uri().path();
        *request.method() == Method::GET && path.starts_with(&self.base) && path.ends_with(&self.plural)
    }
}

/// Returns a client that asks for these objects in their form, and returns them as objects.
pub(crate) fn client(client: &Client, collections: Vec<Collection>) -> Client {
    let (inner, collections) = (client.clone(), Arc::new(collections));
    let service = service_fn(move |request: Request<Body>| {
        let (client, collections) = (inner.clone(), Arc::clone(&collections));
        async move {
            match collections.iter().find(|collection| collection.contains(&request)).map(|found| &found.form)
            {
                None => Ok(send(&client, request).await?.map(boxed)),
                Some(Form::Metadata) => Ok(send(&client, accept(request, METADATA)).await?.map(boxed)),
                Some(Form::Rows(rows, include)) => {
                    let request = include_object(accept(request, TABLE), *include)?;
                    let is_watch = query_has(request.uri().query(), "watch", "true");
                    let response = send(&client, request).await?;
                    if !response.status().is_success() {
                        return Ok(response.map(boxed));
                    }
                    if is_watch {
                        return Ok(response.map(|body| {
                            let events = rows.clone().events(body);
                            boxed(StreamBody::new(events.map(|events| events.map(Frame::data))))
                        }));
                    }
                    let (parts, body) = response.into_parts();
                    let list = rows.list(&body.collect().await?.to_bytes());
                    Ok::<_, BoxError>(Response::from_parts(parts, boxed(Full::new(list))))
                }
            }
        }
    });
    Client::new(service, client.default_namespace())
}

fn boxed<B>(body: B) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}

/// Sends a request, with the error that the client's own layers would return.
async fn send(client: &Client, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    client.send(request).await.map_err(|error| match error {
        kube::Error::Service(error) => error,
        error => error.into(),
    })
}

fn accept(mut request: Request<Body>, accept: &'static str) -> Request<Body> {
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
    request
}

fn include_object(mut request: Request<Body>, include: Include) -> Result<Request<Body>, http::Error> {
    let separator = if request.uri().query().is_some() { '&' } else { '?' };
    *request.uri_mut() = format!("{}{separator}includeObject={include:?}", request.uri()).parse()?;
    Ok(request)
}

fn query_has(query: Option<&str>, name: &str, value: &str) -> bool {
    query.unwrap_or_default().split('&').any(|pair| pair.split_once('=') == Some((name, value)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table<'a> {
    kind: &'a str,
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(default)]
    column_definitions: Option<Vec<Column>>,
    #[serde(default, borrow)]
    rows: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    cells: &'a RawValue,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Row<'_> {
    /// Returns the object with the cells as its last field.
    fn object(&self) -> String {
        let object = self.object.get().trim_end();
        let fields = object.strip_suffix('}').unwrap_or(object).trim_end();
        let comma = if fields.ends_with('{') { "" } else { "," };
        format!("{fields}{comma}\"{CELLS}\":{}}}", self.cells.get())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn table(columns: &Value) -> Value {
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "7", "continue": "c"},
            "columnDefinitions": columns,
            "rows": [{"cells": ["a", 1], "object": {"metadata": {"name": "a"}}}],
        })
    }

    fn columns() -> Value {
        json!([{"name": "Name", "type": "string", "format": "name"}, {"name": "Data", "type": "integer", "priority": 1}])
    }

    #[test]
    fn a_table_becomes_the_list_of_its_objects_with_their_cells() {
        let rows = Rows::default();
        let list = rows.list(&table(&columns()).to_string().into());
        let list: Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["metadata"], json!({"resourceVersion": "7", "continue": "c"}));
        assert_eq!(list["items"], json!([{"metadata": {"name": "a"}, CELLS: ["a", 1]}]));
        let names: Vec<String> = rows.columns().unwrap().iter().map(|column| column.name.clone()).collect();
        assert_eq!(names, ["Name", "Data"]);
        // A server without tables sends a list.
        let list = Bytes::from_static(br#"{"kind":"ConfigMapList","metadata":{},"items":[]}"#);
        assert_eq!(Rows::default().list(&list), list);
        assert_eq!(Rows::default().columns(), None);
    }

    #[tokio::test]
    async fn events_are_turned_as_they_arrive_however_they_are_cut() {
        let event = |kind: &str, columns: &Value| json!({"type": kind, "object": table(columns)}).to_string();
        let error =
            json!({"type": "ERROR", "object": {"kind": "Status", "metadata": {}, "code": 410}}).to_string();
        let text = format!("{}\n{}\n{error}\n", event("ADDED", &columns()), event("BOOKMARK", &Value::Null));
        for size in [1, 7, text.len()] {
            let chunks: Vec<Bytes> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
            let frames =
                stream::iter(chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Frame::data(chunk))));
            let rows = Rows::default();
            let turned: Vec<_> = rows.clone().events(StreamBody::new(frames)).collect().await;
            let turned: Vec<u8> = turned.into_iter().flat_map(|line| line.unwrap().to_vec()).collect();
            let lines: Vec<Value> = turned
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect();
            let object = json!({"metadata": {"name": "a"}, CELLS: ["a", 1]});
            assert_eq!(lines[0], json!({"type": "ADDED", "object": object}));
            assert_eq!(lines[1], json!({"type": "BOOKMARK", "object": object}));
            assert_eq!(lines[2]["object"]["code"], 410);
            assert_eq!(
                rows.columns().map(|columns| columns.len()),
                Some(2),
                "null leaves the columns as they are"
            );
        }
    }
}
