//! The contract as the proto and as the OpenAPI document describe it, in the same terms.

use std::collections::{BTreeMap, BTreeSet};

use hookbox::internals::grpc::proto::DESCRIPTORS;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use serde_json::Value;

/// All files of the contract as if they were one.
pub(super) fn contract() -> FileDescriptorProto {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let ours = files.into_iter().filter(|file| file.package() == "hookbox.v1");
    let joined = ours.reduce(|mut all, file| {
        all.message_type.extend(file.message_type);
        all.enum_type.extend(file.enum_type);
        all.service.extend(file.service);
        all
    });
    joined.unwrap()
}

pub(super) fn message<'a>(contract: &'a FileDescriptorProto, name: &str) -> &'a DescriptorProto {
    contract.message_type.iter().find(|message| message.name() == name).unwrap()
}

pub(super) fn document() -> Value {
    serde_json::to_value(hookbox::internals::http::openapi()).unwrap()
}

pub(super) fn schemas() -> serde_json::Map<String, Value> {
    document()["components"]["schemas"].as_object().unwrap().clone()
}

pub(super) fn schema(name: &str) -> Value {
    schemas().remove(name).unwrap_or_else(|| panic!("the document has the schema {name}"))
}

/// What REST calls a field.
pub(super) fn member_names(field: &FieldDescriptorProto) -> Vec<String> {
    let name = field.name();
    match field.r#type() {
        Type::Bytes => {
            let name = name.strip_suffix("_bytes").unwrap_or(name);
            vec![format!("{name}_text"), format!("{name}_base64")]
        }
        _ => vec![name.strip_suffix("_json").unwrap_or(name).to_owned()],
    }
}

/// The fields of a message as REST names them, each with its type.
pub(super) fn fields_of(message: &DescriptorProto) -> BTreeMap<String, String> {
    let fields = message.field.iter();
    fields
        .flat_map(|field| member_names(field).into_iter().map(|name| (name, type_of_field(field))))
        .collect()
}

fn type_of_field(field: &FieldDescriptorProto) -> String {
    let name = field.type_name().rsplit('.').next().unwrap_or_default();
    let one = match field.r#type() {
        _ if field.name().ends_with("_json") => "any",
        Type::String | Type::Bytes => "string",
        Type::Bool => "boolean",
        Type::Double => "double",
        Type::Uint32 => "int32",
        Type::Uint64 => "int64",
        Type::Message if name == "Timestamp" => "date-time",
        Type::Message if name == "Value" => "any",
        // As in the settings, such as "30s".
        Type::Message if name == "Duration" => "string",
        Type::Message | Type::Enum => name,
        other => panic!("a field of type {other:?} is new; say what it is in REST"),
    };
    if field.label() == Label::Repeated { format!("[{one}]") } else { one.to_owned() }
}

/// The members of a schema, each with its type.
pub(super) fn members_of(schema: &Value) -> BTreeMap<String, String> {
    parts(schema)
        .flat_map(|part| part["properties"].as_object().unwrap())
        .map(|(name, member)| (name.clone(), type_of_member(member)))
        .collect()
}

pub(super) fn required_of(schema: &Value) -> BTreeSet<String> {
    parts(schema)
        .filter_map(|part| part["required"].as_array())
        .flatten()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// A schema that is put together of others has their members.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let all = schema["allOf"].as_array().map_or(std::slice::from_ref(schema), Vec::as_slice);
    all.iter()
}

fn type_of_member(member: &Value) -> String {
    if let Some(reference) = member["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap().to_owned();
    }
    // Null or another schema.
    if let Some(other) =
        member["oneOf"].as_array().and_then(|all| all.iter().find(|one| !one["$ref"].is_null()))
    {
        return type_of_member(other);
    }
    let kind = match &member["type"] {
        Value::String(kind) => kind.as_str(),
        // Null or one other type.
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap(),
        _ => return "any".into(),
    };
    match (kind, member["format"].as_str()) {
        ("array", _) => format!("[{}]", type_of_member(&member["items"])),
        // An id is a string in the proto, which has no type for it.
        ("string", Some("uuid")) => "string".into(),
        (_, Some(format)) => format.into(),
        (kind, None) => kind.into(),
    }
}

/// The parameters of an operation in its path and query string, each with its type.
pub(super) fn parameters(path: &str, method: &str) -> BTreeMap<String, String> {
    let document = document();
    let operation = &document["paths"][path][method];
    assert!(operation.is_object(), "{method} {path} is served");
    let parameters = operation["parameters"].as_array();
    parameters
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] != "header")
        .map(|parameter| {
            (parameter["name"].as_str().unwrap().to_owned(), type_of_member(&parameter["schema"]))
        })
        .collect()
}
