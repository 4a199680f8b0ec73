//! As much of HTTP/1.1 as API clients speak: requests with a length, kept-alive connections.

use serde_json::{Value, json};
use std::io::{self, BufRead, Read};

/// Far more than any object here; a length beyond it is a mistake.
const LARGEST_BODY: usize = 16 << 20;

/// One request.
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// Read the next request of a connection; `None` where it ends.
    pub(super) fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(line) = line(stream)? else { return Ok(None) };
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().and_then(|target| target.split('?').next()).unwrap_or_default().to_owned();
        let mut length = 0;
        while let Some(header) = line_of_header(stream)? {
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        if length > LARGEST_BODY {
            return Err(io::Error::other("the body is too long"));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(Some(Self { method, path, body }))
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    if stream.take(1 << 16).read_line(&mut text)? == 0 {
        return Ok(None);
    }
    Ok(Some(text.trim_end().to_owned()))
}

fn line_of_header(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    Ok(line(stream)?.filter(|text| !text.is_empty()))
}

/// A JSON answer.
pub(super) struct Response {
    status: u16,
    body: String,
}

impl Response {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string() }
    }

    /// The `Status` object of a server that does not have something.
    pub(super) fn not_found(what: &str) -> Self {
        let message = format!("{what} not found");
        Self::json(
            404,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404, "message": message}),
        )
    }

    /// The `Status` object of a server that has another object by that name, with this UID.
    pub(super) fn conflict(uid: &str) -> Self {
        let message = format!("the UID in the precondition is not the UID in record: {uid}");
        Self::json(
            409,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Conflict", "code": 409, "message": message}),
        )
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.status,
            if self.status < 400 { "OK" } else { "Refused" },
            self.body.len()
        );
        [head.as_bytes(), self.body.as_bytes()].concat()
    }
}
