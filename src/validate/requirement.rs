use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

use crate::Dtype;
use crate::error::Error;

/// The characters that make a name a pattern.
const GLOB: [char; 4] = ['*', '?', '[', '{'];

/// A key that a checkpoint must have, with the dtype and the shape that its tensor must have.
///
/// | text | asks for |
/// |---|---|
/// | `data` | the key `data`: a tensor, a map, anything |
/// | `model.*` | at least one key that starts with `model.` |
/// | `w:f32` | a tensor `w` of dtype `f32`; `float32`, `torch.float32` and `F32` say the same |
/// | `w:[768,*]` | a tensor `w` of two dimensions, the first of length 768 |
/// | `w:f32[...,64]` | dtype and shape; `...` stands for any number of dimensions |
/// | `w:[]` | a scalar |
///
/// **The name** is a pattern where it has one of `*?[{`: `*` matches any characters, dots and slashes
/// included, `?` one, `[ab]` one of these, `{a,b}` one of these texts. Any name also matches itself
/// as it is written. Where a pattern matches several keys, each must have the dtype and the shape;
/// keys that are no tensors are passed over, unless all are.
///
/// **The last colon** separates where a dtype, a shape or both follow it and nothing else does.
/// Otherwise it belongs to the name. A name that ends like that is written with `[:]` for its colon:
/// `layer[:]f32`.
///
/// ```
/// use ckpt::validate::Requirement;
/// let requirement: Requirement = "model.*:bf16[768,*]".parse()?;
/// assert_eq!(requirement.name(), "model.*");
/// let requirement: Requirement = "urn:layer:weight".parse()?;
/// assert_eq!(requirement.name(), "urn:layer:weight");
/// assert!("w:f32[768,".parse::<Requirement>().is_err());
/// # Ok::<(), ckpt::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Requirement {
    text: String,
    name: String,
    /// None where the name is no pattern.
    pattern: Option<GlobMatcher>,
    dtype: Option<Dtype>,
    shape: Option<ShapePattern>,
}

impl FromStr for Requirement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(Error::usage("a requirement is empty; name a key, as in 'model.weight'"));
        }
        let (name, Suffix { dtype, shape }) = split(text)?;
        if name.is_empty() {
            let message =
                format!("requirement '{text}' has no name before the ':' at character 1; '*' stands for any");
            return Err(Error::usage(message));
        }
        let pattern = pattern(text, name)?;
        Ok(Self { text: text.to_owned(), name: name.to_owned(), pattern, dtype, shape })
    }
}

impl Requirement {
    /// Returns the requirement as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name or pattern of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the name is a pattern.
    pub fn is_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// Returns the dtype that the tensor must have.
    pub fn dtype(&self) -> Option<Dtype> {
        self.dtype
    }

    /// Returns the shape that the tensor must have.
    pub fn shape(&self) -> Option<&ShapePattern> {
        self.shape.as_ref()
    }

    /// Returns whether the key is one that this asks for.
    pub fn matches(&self, key: &str) -> bool {
        self.name == key || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(key))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Reads requirements from a file's text: one to a line, with blank lines and lines that start with
/// `#` passed over, and space around each dropped.
///
/// # Errors
///
/// A line is no requirement; the error names the line.
///
/// ```
/// let requirements = ckpt::validate::parse_requirements("# the model\nmodel.*:f32\n\nstep\n")?;
/// assert_eq!(requirements.len(), 2);
/// # Ok::<(), ckpt::Error>(())
/// ```
pub fn parse_requirements(text: &str) -> Result<Vec<Requirement>, Error> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).enumerate();
    let meant = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    meant
        .map(|(at, line)| line.parse().map_err(|error| Error::usage(format!("line {}: {error}", at + 1))))
        .collect()
}

/// What follows the name.
#[derive(Debug, Default)]
struct Suffix {
    dtype: Option<Dtype>,
    shape: Option<ShapePattern>,
}

/// Splits a requirement into the name and what follows the last colon.
fn split(text: &str) -> Result<(&str, Suffix), Error> {
    let Some((name, suffix)) = text.rsplit_once(':') else { return Ok((text, Suffix::default())) };
    let (word, shape) = match suffix.find('[') {
        Some(at) => suffix.split_at(at),
        None => (suffix, ""),
    };
    let dtype = dtype(word);
    let shape_pattern = ShapePattern::parse(shape);
    let shape_is_fine = shape.is_empty() || shape_pattern.is_some();
    match (word.is_empty(), dtype) {
        (true, _) if shape_pattern.is_some() => Ok((name, Suffix { dtype: None, shape: shape_pattern })),
        (false, Some(_)) if shape_is_fine => Ok((name, Suffix { dtype, shape: shape_pattern })),
        (false, Some(_)) => Err(malformed_shape(text, name, word, shape)),
        _ => Ok((text, Suffix::default())),
    }
}

/// Says where a shape goes wrong, and how to write a name that ends like one.
fn malformed_shape(text: &str, name: &str, word: &str, shape: &str) -> Error {
    let at = text.chars().count() - shape.chars().count() + 1;
    Error::usage(format!(
        "requirement '{text}': '{shape}' at character {at} is no shape; write lengths, '*' or one '...' \
         between brackets, as in '{name}:{word}[768,*]', or '[:]' for a colon that belongs to the name"
    ))
}

/// Finds a dtype by any of the names that people know it by.
fn dtype(word: &str) -> Option<Dtype> {
    Dtype::from_short_name(word)
        .or_else(|| Dtype::from_torch_name(word.strip_prefix("torch.").unwrap_or(word)))
        .or_else(|| Dtype::from_safetensors_name(word))
}

/// Makes the matcher of a name; none where it is no pattern.
fn pattern(text: &str, name: &str) -> Result<Option<GlobMatcher>, Error> {
    if !name.contains(GLOB) {
        return Ok(None);
    }
    let glob = GlobBuilder::new(name).literal_separator(false).backslash_escape(true).build();
    glob.map(|glob| Some(glob.compile_matcher())).map_err(|error| {
        let at = name.find(GLOB).map_or(0, |at| name.get(..at).unwrap_or_default().chars().count()) + 1;
        Error::usage(format!(
            "requirement '{text}': the pattern from character {at} on is malformed: {}; \
             put a character that belongs to the name between brackets, as in '[[]'",
            error.kind()
        ))
    })
}

/// The lengths that a shape must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapePattern {
    /// The first dimensions.
    first: Vec<Length>,
    /// The last dimensions, where any number of others may stand between.
    last: Option<Vec<Length>>,
}

/// The length that one dimension must have; none where any will do.
type Length = Option<u64>;

impl ShapePattern {
    /// Reads a pattern in its brackets; none where it isn't one.
    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        if inner.trim().is_empty() {
            return Some(Self { first: Vec::new(), last: None });
        }
        let mut pattern = Self { first: Vec::new(), last: None };
        for word in inner.split(',').map(str::trim) {
            match (word, &mut pattern.last) {
                ("...", Some(_)) => return None,
                ("...", last) => *last = Some(Vec::new()),
                (word, Some(last)) => last.push(length(word)?),
                (word, None) => pattern.first.push(length(word)?),
            }
        }
        Some(pattern)
    }

    /// Returns whether a shape has these lengths.
    pub fn matches(&self, shape: &[u64]) -> bool {
        let Some((first, rest)) = shape.split_at_checked(self.first.len()) else { return false };
        let last = self.last.as_deref().unwrap_or_default();
        let Some(between) = rest.len().checked_sub(last.len()) else { return false };
        let fits = |lengths: &[Length], shape: &[u64]| {
            lengths.iter().zip(shape).all(|(wanted, length)| wanted.is_none_or(|wanted| wanted == *length))
        };
        (between == 0 || self.last.is_some())
            && fits(&self.first, first)
            && fits(last, rest.get(between..).unwrap_or_default())
    }
}

/// Reads the length of one dimension.
fn length(word: &str) -> Option<Length> {
    if word == "*" {
        return Some(None);
    }
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?.map(Some)
}

impl fmt::Display for ShapePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |length: &Length| length.map_or_else(|| "*".to_owned(), |length| length.to_string());
        let mut words: Vec<String> = self.first.iter().map(word).collect();
        if let Some(last) = &self.last {
            words.push("...".to_owned());
            words.extend(last.iter().map(word));
        }
        write!(f, "[{}]", words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Requirement {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<Requirement>().unwrap_err().to_string()
    }

    #[test]
    fn a_name_alone() {
        let requirement = parse("model.weight");
        assert_eq!((requirement.name(), requirement.as_str()), ("model.weight", "model.weight"));
        assert!(!requirement.is_pattern());
        assert!(requirement.dtype().is_none() && requirement.shape().is_none());
        assert!(requirement.matches("model.weight"));
        assert!(!requirement.matches("modelxweight"));
    }

    #[test]
    fn a_dtype_by_each_of_its_names() {
        for word in ["f8_e4m3fn", "float8_e4m3fn", "torch.float8_e4m3fn", "F8_E4M3"] {
            let requirement = parse(&format!("w:{word}"));
            assert_eq!((requirement.name(), requirement.dtype()), ("w", Some(Dtype::F8E4m3fn)));
        }
        for dtype in Dtype::ALL {
            assert_eq!(parse(&format!("w:{dtype}")).dtype(), Some(*dtype));
            assert_eq!(parse(&format!("w:{}", dtype.torch_name())).dtype(), Some(*dtype));
        }
    }

    #[test]
    fn a_shape_with_and_without_a_dtype() {
        for (text, shape) in [
            ("w:f32[768,*]", "[768,*]"),
            ("w:[2,3]", "[2,3]"),
            ("w:[ 2 , 3 ]", "[2,3]"),
            ("w:[]", "[]"),
            ("w:[...]", "[...]"),
            ("w:[1,...,*,64]", "[1,...,*,64]"),
        ] {
            let requirement = parse(text);
            assert_eq!(requirement.name(), "w");
            assert_eq!(requirement.shape().unwrap().to_string(), shape);
            assert_eq!(requirement.dtype().is_some(), text.contains("f32"));
        }
    }

    #[test]
    fn a_shape_pattern_matches() {
        for (pattern, shape, fits) in [
            ("[2,3]", &[2, 3][..], true),
            ("[2,3]", &[3, 2], false),
            ("[2,3]", &[2], false),
            ("[2,3]", &[2, 3, 1], false),
            ("[]", &[], true),
            ("[]", &[1], false),
            ("[*]", &[7], true),
            ("[*]", &[], false),
            ("[...]", &[], true),
            ("[...]", &[1, 2, 3], true),
            ("[2,...]", &[2], true),
            ("[2,...]", &[3, 2], false),
            ("[...,64]", &[1, 2, 64], true),
            ("[...,64]", &[64, 1], false),
            ("[2,...,64]", &[2, 64], true),
            ("[2,...,64]", &[2, 9, 9, 64], true),
            ("[2,...,2]", &[2], false),
        ] {
            assert_eq!(ShapePattern::parse(pattern).unwrap().matches(shape), fits, "{pattern} {shape:?}");
        }
    }

    #[test]
    fn the_last_colon_separates_only_before_a_dtype_or_shape() {
        for text in ["urn:layer", "a:b:c", "w:f33", "w:", ":", "w:[a]", "w:[1", "w:[1,]", "w:[1]x", "w:[+1]"]
        {
            if let Ok(requirement) = text.parse::<Requirement>() {
                assert_eq!(requirement.name(), text);
            } else {
                assert!(error(text).contains("malformed"), "{text}");
            }
        }
        assert_eq!(parse("a:f32:f64").name(), "a:f32");
        assert_eq!(parse("a:b:[2]").name(), "a:b");
    }

    #[test]
    fn odd_names_can_be_said() {
        assert!(parse("layer[:]f32").matches("layer:f32"));
        assert!(parse("a[0]").matches("a[0]"));
        assert!(parse("a[[]0]").matches("a[0]"));
        assert!(parse("a[[]0]:f32").matches("a[0]"));
        assert!(parse(r"a\*").matches("a*"));
        assert!(parse("a{b}").matches("a{b}"));
        assert!(parse("w[:][2]").matches("w:2"));
        assert!(parse("ключ:f32").matches("ключ"));
    }

    #[test]
    fn patterns_match_across_dots_and_slashes() {
        let requirement = parse("model.*");
        assert!(requirement.is_pattern());
        assert!(requirement.matches("model.layers.0.weight"));
        assert!(requirement.matches("model.a/b"));
        assert!(!requirement.matches("model"));
        assert!(parse("*.weight").matches("a/b.c.weight"));
        assert!(parse("layer.?.{weight,bias}:f32").matches("layer.3.bias"));
        assert!(parse("*").matches("."));
        assert!(parse("*").matches("a/../b"));
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        assert!(error("").contains("empty"));
        assert!(error(":f32").contains("no name"));
        for text in ["w:f32[768,", "w:f32[a]", "w:f32[1,,2]", "w:f32[-1]", "w:f32[...,...]", "w:f32[2]]"] {
            let message = error(text);
            assert!(message.contains("at character 6"), "{message}");
            assert!(message.contains("'w:f32[768,*]'"), "{message}");
        }
        let message = error("model.a[b");
        assert!(message.contains("from character 8") && message.contains("'[[]'"), "{message}");
        assert!(error("w:f32[99999999999999999999]").contains("no shape"));
    }

    #[test]
    fn a_file_of_requirements() {
        let text = "\u{feff}# all\n\n  model.*:f32  \r\nstep\n #x\n";
        let names: Vec<String> = parse_requirements(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["model.*:f32", "step"]);
        let message = parse_requirements("a\n\nb:f32[\n").unwrap_err().to_string();
        assert!(message.starts_with("line 3: "), "{message}");
        assert!(parse_requirements("").unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\PC:\\[\\],.*{}0-9f]{0,12}") {
            if let Ok(requirement) = text.parse::<Requirement>() {
                proptest::prop_assert!(requirement.matches(requirement.name()));
            }
        }
    }
}
