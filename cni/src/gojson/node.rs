//! The serde deserializer over a borrowed JSON value.

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::{Map, Number, Value};

use super::failure::Failure;

/// A value about to be read.
#[derive(Clone, Copy)]
pub(super) struct Node<'de>(pub(super) &'de Value);

/// An object about to be read.
#[derive(Clone, Copy)]
pub(super) struct Object<'de>(pub(super) &'de Map<String, Value>);

impl<'de> Node<'de> {
    fn refuse<V: Visitor<'de>>(self, visitor: &V) -> Failure {
        Failure::invalid_type(unexpected(self.0), visitor)
    }

    /// Numbers are handed over in the widest type; the visitor checks the range. `null` is Go's zero value.
    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_u64(0),
            Value::Number(number) => visit_number(number, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_borrowed_str(""),
            Value::String(text) => visitor.visit_borrowed_str(text).map_err(|failure: Failure| failure.about(text)),
            _ => Err(self.refuse(&visitor)),
        }
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Failure> {
    if let Some(number) = number.as_u64() {
        visitor.visit_u64(number)
    } else if let Some(number) = number.as_i64() {
        visitor.visit_i64(number)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Other("null"),
        Value::Bool(flag) => Unexpected::Bool(*flag),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Unexpected::Unsigned(number),
            (None, Some(number)) => Unexpected::Signed(number),
            (None, None) => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Other("array"),
        Value::Object(_) => Unexpected::Other("object"),
    }
}

macro_rules! forward {
    ($target:ident: $($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            self.$target(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Failure;

    forward!(number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_i128 deserialize_u128 deserialize_f32 deserialize_f64);
    forward!(text: deserialize_char deserialize_str deserialize_string deserialize_identifier deserialize_bytes
        deserialize_byte_buf);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => visit_number(number, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text).map_err(|failure: Failure| failure.about(text)),
            Value::Array(items) => visitor.visit_seq(Items::new(items)),
            Value::Object(object) => visitor.visit_map(Entries::all(object)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.0.is_null() { visitor.visit_unit() } else { Err(self.refuse(&visitor)) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_seq(Items::new(&[])),
            Value::Array(items) => visitor.visit_seq(Items::new(items)),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_map(Entries::default()),
            Value::Object(object) => visitor.visit_map(Entries::all(object)),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_map(Entries::default()),
            Value::Object(object) => Object(object).deserialize_struct(name, fields, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.0 {
            Value::String(text) => {
                let variant = BorrowedStrDeserializer::new(text);
                visitor.visit_enum(variant).map_err(|failure: Failure| failure.about(text))
            }
            Value::Object(object) => visitor.visit_enum(MapAccessDeserializer::new(Entries::all(object))),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}

impl<'de> Deserializer<'de> for Object<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(Entries::all(self.0))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_map(Entries::folded(self.0, fields))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

/// The elements of an array.
struct Items<'de> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
}

impl<'de> Items<'de> {
    fn new(items: &'de [Value]) -> Self {
        Self { rest: items.iter().enumerate() }
    }
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some((index, value)) = self.rest.next() else { return Ok(None) };
        seed.deserialize(Node(value)).map(Some).map_err(|failure| failure.under_index(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The members of an object, under the names the reader asked for.
#[derive(Default)]
struct Entries<'de> {
    rest: std::vec::IntoIter<Entry<'de>>,
    value: Option<Entry<'de>>,
}

#[derive(Clone, Copy)]
struct Entry<'de> {
    /// The struct's name for the key.
    field: &'de str,
    /// The document's spelling of it.
    key: &'de str,
    value: &'de Value,
}

impl<'de> Entries<'de> {
    fn new(entries: Vec<Entry<'de>>) -> Self {
        Self { rest: entries.into_iter(), value: None }
    }

    /// Every member as it is, for maps.
    fn all(object: &'de Map<String, Value>) -> Self {
        Self::new(object.iter().map(|(key, value)| Entry { field: key, key, value }).collect())
    }

    /// One member for each field that the document names in any case; `null` is left out. Unknown keys are kept, for
    /// readers that refuse them.
    fn folded(object: &'de Map<String, Value>, fields: &'static [&'static str]) -> Self {
        let mut entries: Vec<Entry<'de>> = Vec::with_capacity(object.len());
        for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            let entry = Entry { field: field_of(key, fields), key, value };
            match entries.iter_mut().find(|other| other.field == entry.field) {
                Some(exact) if exact.key == exact.field => {}
                Some(folded) => *folded = entry,
                None => entries.push(entry),
            }
        }
        Self::new(entries)
    }
}

/// The field that a key stands for: its own spelling first, then any other case, else none (the key itself).
fn field_of<'de>(key: &'de str, fields: &'static [&'static str]) -> &'de str {
    if fields.contains(&key) {
        return key;
    }
    fields.iter().find(|field| field.eq_ignore_ascii_case(key)).copied().unwrap_or(key)
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some(entry) = self.rest.next() else { return Ok(None) };
        self.value = Some(entry);
        seed.deserialize(BorrowedStrDeserializer::new(entry.field)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let entry = self.value.take().ok_or_else(|| Failure::custom("a value was asked for before its key"))?;
        seed.deserialize(Node(entry.value)).map_err(|failure| failure.under_key(entry.key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}
