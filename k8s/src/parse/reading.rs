//! JSON → a type, with everything that does not fit rather than the first of it.
//!
//! serde stops at its first error. So what does not fit is replaced by something empty and the whole is read again, until
//! it can be read or too much is wrong. What comes of it is for looking it over only: an object with a fault is refused.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Faults that are told of one object.
const FAULTS_MAX: usize = 16;
/// Times that one object is read.
const READS_MAX: usize = 96;

/// What a value was read as.
pub struct Reading<T> {
    /// The value, where it could be read; what has faults is empty in it.
    pub typed: Option<T>,
    /// Fields that the type does not know, as `spec.http[0].match`.
    pub unknown: Vec<String>,
    /// What does not fit.
    pub faults: Vec<Fault>,
}

/// Something that does not fit.
pub struct Fault {
    /// Where, as `spec.http[0].match`; empty for the whole.
    pub path: String,
    /// serde's words.
    pub message: String,
}

/// Reads a value.
pub fn read<T: DeserializeOwned>(mut value: Value) -> Reading<T> {
    let mut reading = Reading { typed: None, unknown: Vec::new(), faults: Vec::new() };
    let mut last: Option<Repair> = None;
    for _ in 0..READS_MAX {
        let (steps, fault) = match once(&value, &mut reading.unknown) {
            Ok(typed) => {
                reading.typed = Some(typed);
                break;
            }
            Err(refused) => refused,
        };
        let mut repair = match last.take() {
            Some(repair) if repair.caused(&steps, &fault) => repair,
            _ if reading.faults.len() == FAULTS_MAX => break,
            _ => {
                reading.faults.push(fault);
                Repair { steps, tried: 0 }
            }
        };
        if !repair.apply(&mut value) {
            break;
        }
        last = Some(repair);
    }
    reading
}

/// One step of a path.
#[derive(PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

fn once<T: DeserializeOwned>(value: &Value, unknown: &mut Vec<String>) -> Result<T, (Vec<Step>, Fault)> {
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let mut note = |path: serde_ignored::Path<'_>| {
        let path = dotted(&path);
        if !unknown.contains(&path) {
            unknown.push(path);
        }
    };
    T::deserialize(serde_ignored::Deserializer::new(tracked, &mut note)).map_err(|error| {
        let path = track.path();
        let text = path.to_string();
        let fault =
            Fault { path: if text == "." { String::new() } else { text }, message: error.to_string() };
        (steps(&path), fault)
    })
}

/// A path as far as it is known.
fn steps(path: &serde_path_to_error::Path) -> Vec<Step> {
    use serde_path_to_error::Segment;
    let step = |it: &Segment| match it {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { variant } => Some(Step::Key(variant.clone())),
        Segment::Unknown => None,
    };
    path.iter().map_while(step).collect()
}

/// What was put in the place of a fault.
struct Repair {
    steps: Vec<Step>,
    /// Substitutes that did not fit there.
    tried: usize,
}

impl Repair {
    /// Whether an error is about the substitute: at or below it, or around it and not about another field.
    fn caused(&self, steps: &[Step], fault: &Fault) -> bool {
        let is_around = self.steps.starts_with(steps) && !fault.message.starts_with("missing field");
        steps.starts_with(&self.steps) || is_around
    }

    /// Puts the next substitute in place; where none fits, what is around it is replaced. False at the root.
    fn apply(&mut self, value: &mut Value) -> bool {
        loop {
            let substitute = match self.tried {
                0 => Value::Null,
                1 => Value::Object(serde_json::Map::new()),
                2 => Value::from(""),
                3 => Value::from(0),
                4 => Value::Array(Vec::new()),
                _ => {
                    self.steps.pop();
                    self.tried = 0;
                    continue;
                }
            };
            if self.steps.is_empty() {
                return false;
            }
            self.tried += 1;
            let place = self.steps.iter().try_fold(&mut *value, |value, step| match step {
                Step::Key(key) => value.get_mut(key),
                Step::Index(index) => value.get_mut(index),
            });
            match place {
                Some(place) => *place = substitute,
                None => {
                    self.steps.pop();
                    self.tried = 0;
                    continue;
                }
            }
            return true;
        }
    }
}

/// `spec.http.0.match` of serde_ignored as `spec.http[0].match`; the steps of options and newtypes left out.
fn dotted(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", dotted(parent)),
        Path::Map { parent, key } => {
            let parent = dotted(parent);
            if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") }
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            dotted(parent)
        }
    }
}
