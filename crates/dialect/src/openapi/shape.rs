//! The words in which values are described: texts, numbers and lists with their bounds, and objects with their fields.
//!
//! Bounds come from `limits`, so that the document says what is checked. Lengths of texts are bounded in bytes and
//! described in characters, of which there are never more.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOf, AnyOfBuilder, Array, ArrayBuilder, Object, ObjectBuilder, Ref,
    Schema, SchemaType, Type,
};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};

/// What values may be. The named shapes that it refers to come with it.
#[derive(Clone)]
pub struct Shape {
    schema: RefOr<Schema>,
    named: Named,
}

/// Shapes by their names in the document.
pub(super) type Named = BTreeMap<String, RefOr<Schema>>;

/// A text.
#[must_use]
pub fn text() -> Shape {
    plain(Type::String)
}

/// A text of so many bytes.
#[must_use]
pub fn text_of(bytes: RangeInclusive<usize>) -> Shape {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(*bytes.start()).filter(|&least| least > 0))
        .max_length(Some(*bytes.end()));
    Shape::new(text)
}

/// A text of this form, a regular expression.
#[must_use]
pub fn text_like(pattern: &str) -> Shape {
    Shape::new(ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)))
}

/// Bytes as they are, in a form or as a whole body.
#[must_use]
pub fn bytes() -> Shape {
    let binary = Some(SchemaFormat::KnownFormat(KnownFormat::Binary));
    Shape::new(ObjectBuilder::new().schema_type(Type::String).format(binary))
}

/// A text that is JSON of this shape.
#[must_use]
pub fn json_in_text(shape: Shape) -> Shape {
    let Shape { schema, named } = shape;
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .content_media_type("application/json")
        .content_schema(Some(schema));
    Shape { schema: text.into(), named }
}

/// One of these words.
#[must_use]
pub fn word(words: &[&str]) -> Shape {
    let words = words.iter().map(|word| Value::from(*word));
    Shape::new(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)))
}

/// True or false.
#[must_use]
pub fn truth() -> Shape {
    plain(Type::Boolean)
}

/// A whole number in this range.
#[must_use]
pub fn integer(range: RangeInclusive<i64>) -> Shape {
    let integer = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(*range.start()))
        .maximum(Some(*range.end()));
    Shape::new(integer)
}

/// A whole number, however large.
#[must_use]
pub fn whole() -> Shape {
    plain(Type::Integer)
}

/// How many of something there are.
#[must_use]
pub fn count() -> Shape {
    Shape::new(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)))
}

/// A number in this range.
#[must_use]
pub fn number_in(range: RangeInclusive<f64>) -> Shape {
    let number = ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(*range.start()))
        .maximum(Some(*range.end()));
    Shape::new(number)
}

/// Any number.
#[must_use]
pub fn number() -> Shape {
    plain(Type::Number)
}

/// A list of these.
#[must_use]
pub fn list(entries: Shape) -> Shape {
    let Shape { schema, named } = entries;
    Shape { schema: Array::new(schema).into(), named }
}

/// A list of so many of these. `usize::MAX` is no bound.
#[must_use]
pub fn list_of(entries: Shape, how_many: RangeInclusive<usize>) -> Shape {
    let Shape { schema, named } = entries;
    let list = ArrayBuilder::new()
        .items(schema)
        .min_items(Some(*how_many.start()).filter(|&least| least > 0))
        .max_items(Some(*how_many.end()).filter(|&most| most < usize::MAX));
    Shape { schema: list.into(), named }
}

/// Anything that JSON can say.
#[must_use]
pub fn anything() -> Shape {
    Shape::new(ObjectBuilder::new().schema_type(SchemaType::AnyValue))
}

/// An object with whatever fields.
#[must_use]
pub fn object() -> Shape {
    Shape::new(
        ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true))),
    )
}

/// An object of at most so many such values, whose keys mean something themselves. `usize::MAX` is no bound.
#[must_use]
pub fn map(values: Shape, entries_max: usize) -> Shape {
    let Shape { schema, named } = values;
    let map = ObjectBuilder::new()
        .additional_properties(Some(schema))
        .max_properties(Some(entries_max).filter(|&most| most < usize::MAX));
    Shape { schema: map.into(), named }
}

/// Any of these shapes.
#[must_use]
pub fn either(shapes: impl IntoIterator<Item = Shape>) -> Shape {
    let (mut any_of, mut named) = (AnyOfBuilder::new(), Named::new());
    for shape in shapes {
        any_of = any_of.item(shape.schema);
        named.extend(shape.named);
    }
    Shape { schema: any_of.into(), named }
}

/// A type that describes itself.
#[must_use]
pub fn of<T: ToSchema>() -> Shape {
    let mut named = Vec::new();
    T::schemas(&mut named);
    named.push((T::name().into_owned(), T::schema()));
    Shape { schema: Ref::from_schema_name(T::name()).into(), named: named.into_iter().collect() }
}

/// An object with fields, which are described one by one.
#[must_use]
pub fn fields(about: &str) -> Fields {
    Fields { object: ObjectBuilder::new().description(Some(about)), named: Named::new() }
}

fn plain(kind: Type) -> Shape {
    Shape::new(Object::with_type(kind))
}

impl Shape {
    fn new(schema: impl Into<RefOr<Schema>>) -> Self {
        Self { schema: schema.into(), named: Named::new() }
    }

    /// The same, saying what it is.
    #[must_use]
    pub fn about(mut self, about: &str) -> Self {
        let about = about.to_owned();
        match &mut self.schema {
            RefOr::Ref(reference) => reference.description = about,
            RefOr::T(Schema::Array(array)) => array.description = Some(about),
            RefOr::T(Schema::Object(object)) => object.description = Some(about),
            RefOr::T(Schema::OneOf(one_of)) => one_of.description = Some(about),
            RefOr::T(Schema::AllOf(all_of)) => all_of.description = Some(about),
            RefOr::T(Schema::AnyOf(any_of)) => any_of.description = Some(about),
            RefOr::T(_) => {}
        }
        self
    }

    /// The same or null.
    #[must_use]
    pub fn or_null(mut self) -> Self {
        let null = Object::with_type(Type::Null);
        match &mut self.schema {
            RefOr::T(Schema::Object(object)) => {
                or_null(&mut object.schema_type);
                object.enum_values.iter_mut().for_each(|words| words.push(Value::Null));
            }
            RefOr::T(Schema::Array(array)) => or_null(&mut array.schema_type),
            RefOr::T(Schema::AnyOf(any_of)) => any_of.items.push(null.into()),
            RefOr::Ref(_) | RefOr::T(_) => {
                let mut any_of = AnyOf::new();
                any_of.items = vec![self.schema, null.into()];
                self.schema = Schema::AnyOf(any_of).into();
            }
        }
        self
    }

    /// The same under a name, by which whatever uses it refers to it.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        let Self { schema, mut named } = self;
        named.insert(name.to_owned(), schema);
        Self { schema: Ref::from_schema_name(name).into(), named }
    }

    /// The shape itself, and those that it refers to.
    pub(super) fn into_parts(self) -> (RefOr<Schema>, Named) {
        (self.schema, self.named)
    }
}

fn or_null(kind: &mut SchemaType) {
    if let SchemaType::Type(one) = kind {
        *kind = [one.clone(), Type::Null].into_iter().collect();
    }
}

/// The fields of an object. What it does not name is allowed: vendors add fields.
pub struct Fields {
    object: ObjectBuilder,
    named: Named,
}

impl Fields {
    /// A field that is always there.
    #[must_use]
    pub fn has(self, key: &str, about: &str, shape: Shape) -> Self {
        let Self { object, named } = self.at_times(key, about, shape);
        Self { object: object.required(key), named }
    }

    /// A field that may be left out, which null does too.
    #[must_use]
    pub fn may(self, key: &str, about: &str, shape: Shape) -> Self {
        self.at_times(key, about, shape.or_null())
    }

    /// A field that is there where there is something to say.
    #[must_use]
    pub fn at_times(mut self, key: &str, about: &str, shape: Shape) -> Self {
        let (schema, named) = shape.about(about).into_parts();
        self.named.extend(named);
        Self { object: self.object.property(key, schema), named: self.named }
    }

    /// Fields that others have too.
    #[must_use]
    pub fn with(self, more: fn(Self) -> Self) -> Self {
        more(self)
    }

    /// The object.
    #[must_use]
    pub fn shape(self) -> Shape {
        Shape { schema: self.object.into(), named: self.named }
    }

    /// The object under a name.
    #[must_use]
    pub fn named(self, name: &str) -> Shape {
        self.shape().named(name)
    }
}
