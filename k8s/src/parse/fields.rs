//! Which fields a type has at a path: asked of the type itself, so that no list of names can go stale.
//!
//! serde hands every struct's field names to the deserializer. [`Probe`] is a deserializer that holds nothing but a path:
//! it offers one entry per step and stops with the names at its end.

use std::cell::Cell;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Visitor, value::StrDeserializer};

type Names = &'static [&'static str];
type Stop = de::value::Error;

/// Field names of the struct at a path such as `spec.http[0].route[1]`; none where there is no struct.
pub fn at<T: DeserializeOwned>(path: &str) -> Option<Names> {
    let steps: Vec<&str> = path.split(['.', '[']).map(|step| step.trim_end_matches(']')).collect();
    let steps = if path.is_empty() { Vec::new() } else { steps };
    let found = Cell::new(None);
    let _ = T::deserialize(Probe { steps: &steps, found: &found });
    found.get()
}

#[derive(Clone, Copy)]
struct Probe<'a> {
    steps: &'a [&'a str],
    found: &'a Cell<Option<Names>>,
}

impl<'a> Probe<'a> {
    fn entry(self) -> Result<Entry<'a>, Stop> {
        let (step, rest) = self.steps.split_first().ok_or_else(stop)?;
        Ok(Entry { step: Some(step), value: Probe { steps: rest, found: self.found } })
    }
}

fn stop() -> Stop {
    de::Error::custom("the probe's end")
}

impl<'de> de::Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        Err(stop())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if self.steps.is_empty() {
            self.found.set(Some(fields));
        }
        visitor.visit_map(self.entry()?)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_map(self.entry()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_seq(self.entry()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct enum identifier ignored_any
    }
}

/// A map or list of the one entry that the path goes through.
struct Entry<'a> {
    step: Option<&'a str>,
    value: Probe<'a>,
}

impl<'de> de::MapAccess<'de> for Entry<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let Some(step) = self.step.take() else { return Err(stop()) };
        seed.deserialize(StrDeserializer::<Stop>::new(step)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(self.value)
    }
}

impl<'de> de::SeqAccess<'de> for Entry<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        if self.step.take().is_none() {
            return Err(stop());
        }
        seed.deserialize(self.value).map(Some)
    }
}
