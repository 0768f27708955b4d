//! HorizontalPodAutoscalers: version 1 has one metric, and keeps everything else that version 2 has in annotations
//! (`pkg/apis/autoscaling/v1/conversion.go`).

use serde_json::{Map, Value, json};

use crate::decode::decode;
use kube_validation::Quantity;

pub(super) const KIND: &str = "HorizontalPodAutoscaler";
pub(super) const V1: &str = "autoscaling/v1";
pub(super) const V2: &str = "autoscaling/v2";

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// All annotations of version 1 that version 2 does not show.
const ANNOTATIONS: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// The fields of Go's structs in the annotations, in an order that is right for each of them.
const ORDER: [&str; 39] = [
    "type",
    "object",
    "pods",
    "resource",
    "containerResource",
    "external",
    "status",
    "lastTransitionTime",
    "reason",
    "message",
    "target",
    "kind",
    "name",
    "apiVersion",
    "metricName",
    "metricSelector",
    "targetValue",
    "targetAverageUtilization",
    "targetAverageValue",
    "currentValue",
    "currentAverageUtilization",
    "currentAverageValue",
    "selector",
    "averageValue",
    "container",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "ScaleUp",
    "ScaleDown",
    "StabilizationWindowSeconds",
    "SelectPolicy",
    "Policies",
    "Tolerance",
    "Type",
    "Value",
    "PeriodSeconds",
];

/// Converts an autoscaler of the other version to the fields that it has in `api_version`.
pub(super) fn convert(object: &mut Value, api_version: &str) {
    match (object["apiVersion"].as_str(), api_version) {
        (Some(V1), V2) => to_v2(object),
        (Some(V2), V1) => to_v1(object),
        _ => return,
    }
    object["apiVersion"] = api_version.into();
    if let Some(Ok(decoded)) = decode(api_version, KIND, object) {
        *object = decoded.object;
    }
}

/// Removes the annotations of version 1.
pub(super) fn drop_annotations(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    let before = annotations.len();
    annotations.retain(|name, _| !ANNOTATIONS.contains(&name.as_str()));
    if annotations.is_empty() && before > 0 {
        metadata.remove("annotations");
    }
}

fn to_v1(object: &mut Value) {
    drop_annotations(object);
    let mut kept: Vec<(&str, Value)> = Vec::new();
    let metrics = list(&object["spec"]["metrics"]);
    let target = metrics.iter().find(|metric| is_cpu_utilization(metric));
    let target = target.map(|metric| metric["resource"]["target"]["averageUtilization"].clone());
    let others: Vec<Value> = metrics
        .iter()
        .filter(|metric| !is_cpu_utilization(metric))
        .map(|metric| renamed(metric, &target_to_v1))
        .collect();
    if !others.is_empty() {
        kept.push((METRICS, others.into()));
    }
    let current = list(&object["status"]["currentMetrics"]);
    let utilization = current
        .iter()
        .filter(|metric| metric["type"] == "Resource" && metric["resource"]["name"] == "cpu")
        .map(|metric| metric["resource"]["current"]["averageUtilization"].clone())
        .rfind(|utilization| !utilization.is_null());
    if !current.is_empty() {
        let statuses: Vec<Value> = current.iter().map(|metric| renamed(metric, &current_to_v1)).collect();
        kept.push((CURRENT_METRICS, statuses.into()));
    }
    if object["spec"]["behavior"].is_object() {
        kept.push((BEHAVIOR, internal_behavior(&object["spec"]["behavior"])));
    }
    let conditions = list(&object["status"]["conditions"]);
    if !conditions.is_empty() {
        kept.push((CONDITIONS, conditions.into()));
    }
    for (part, removed, name, value) in [
        ("spec", &["metrics", "behavior"], "targetCPUUtilizationPercentage", target),
        ("status", &["currentMetrics", "conditions"], "currentCPUUtilizationPercentage", utilization),
    ] {
        let Some(members) = object.get_mut(part).and_then(Value::as_object_mut) else { continue };
        for field in removed {
            members.remove(*field);
        }
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    }
    for (name, value) in kept {
        let text = go_json(&value);
        if !object["metadata"]["annotations"].is_object() {
            object["metadata"]["annotations"] = json!({});
        }
        object["metadata"]["annotations"][name] = text.into();
    }
}

fn to_v2(object: &mut Value) {
    let annotation = |name: &str| -> Value {
        let text = object["metadata"]["annotations"][name].as_str().unwrap_or_default();
        serde_json::from_str(text).unwrap_or_default()
    };
    let behavior = external_behavior(&annotation(BEHAVIOR));
    let [others, current, conditions] = [METRICS, CURRENT_METRICS, CONDITIONS].map(annotation).map(structs);
    let others: Vec<_> =
        others.unwrap_or_default().iter().map(|metric| renamed(metric, &target_to_v2)).collect();
    let mut metrics = if is_decodable("spec", "metrics", &others) { others } else { Vec::new() };
    drop_annotations(object);
    let mut take = |part: &str, field: &str| {
        let members = object.get_mut(part).and_then(Value::as_object_mut);
        members.and_then(|members| members.remove(field)).unwrap_or_default()
    };
    let target = take("spec", "targetCPUUtilizationPercentage");
    let utilization = take("status", "currentCPUUtilizationPercentage");
    if metrics.is_empty() || !target.is_null() {
        let utilization = if target.is_null() { 80.into() } else { target };
        let target = json!({"type": "Utilization", "averageUtilization": utilization});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    object["spec"]["metrics"] = metrics.into();
    if behavior.as_object().is_some_and(|it| !it.is_empty()) && is_decodable("spec", "behavior", &behavior) {
        object["spec"]["behavior"] = behavior;
    }
    if !utilization.is_null() {
        let current = json!({"averageUtilization": utilization});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "current": current}});
        object["status"]["currentMetrics"] = json!([metric]);
    }
    let current = current.map(|all| all.iter().map(|it| renamed(it, &current_to_v2)).collect());
    for (field, value) in [("currentMetrics", current), ("conditions", conditions)] {
        if let Some(value) = value.filter(|value: &Vec<Value>| is_decodable("status", field, value)) {
            object["status"][field] = value.into();
        }
    }
}

/// The items of an annotation, if it is a list of objects.
fn structs(annotation: Value) -> Option<Vec<Value>> {
    match annotation {
        Value::Array(items) if items.iter().all(Value::is_object) => Some(items),
        _ => None,
    }
}

/// Whether a value has the types of a field of version 2: an annotation may say anything.
fn is_decodable(part: &str, field: &str, value: &(impl serde::Serialize + ?Sized)) -> bool {
    let object = json!({"apiVersion": V2, "kind": KIND, part: {field: value}});
    matches!(decode(V2, KIND, &object), Some(Ok(_)))
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn is_cpu_utilization(metric: &Value) -> bool {
    let resource = &metric["resource"];
    metric["type"] == "Resource"
        && resource["name"] == "cpu"
        && !resource["target"]["averageUtilization"].is_null()
}

/// A metric with its source converted.
fn renamed(metric: &Value, convert: &dyn Fn(&str, &Value) -> Value) -> Value {
    let mut new = Map::new();
    for (name, value) in metric.as_object().into_iter().flatten() {
        let converted = if value.is_object() { convert(name, value) } else { value.clone() };
        new.insert(name.clone(), converted);
    }
    Value::Object(new)
}

/// An object of those members that have a value.
fn of<const N: usize>(members: [(&str, Value); N]) -> Value {
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(given.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The value of a quantity that Go does not leave out.
fn or_zero(value: &Value) -> Value {
    if value.is_null() { "0".into() } else { value.clone() }
}

fn target_to_v1(source: &str, from: &Value) -> Value {
    let (metric, target) = (&from["metric"], &from["target"]);
    let (name, selector) = (metric["name"].clone(), metric["selector"].clone());
    let (value, average) = (target["value"].clone(), target["averageValue"].clone());
    match source {
        "object" => of([
            ("target", from["describedObject"].clone()),
            ("metricName", name),
            ("targetValue", or_zero(&value)),
            ("selector", selector),
            ("averageValue", average),
        ]),
        "pods" => {
            of([("metricName", name), ("targetAverageValue", or_zero(&average)), ("selector", selector)])
        }
        "external" => of([
            ("metricName", name),
            ("metricSelector", selector),
            ("targetValue", value),
            ("targetAverageValue", average),
        ]),
        _ => of([
            ("name", from["name"].clone()),
            ("targetAverageUtilization", target["averageUtilization"].clone()),
            ("targetAverageValue", average),
            ("container", from["container"].clone()),
        ]),
    }
}

fn target_to_v2(source: &str, from: &Value) -> Value {
    let field = |name: &str| from[name].clone();
    let target = |kind: &str, members: [(&str, Value); 2]| {
        let mut target = of(members);
        target["type"] = kind.into();
        target
    };
    let metric = |selector: &str| of([("name", field("metricName")), ("selector", field(selector))]);
    match source {
        "object" => {
            let (value, average) = (field("targetValue"), field("averageValue"));
            let target = if average.is_null() {
                target("Value", [("value", or_zero(&value)), ("averageValue", Value::Null)])
            } else {
                let value = if is_zero(&value) { Value::Null } else { value };
                target("AverageValue", [("value", value), ("averageValue", average)])
            };
            json!({"describedObject": field("target"), "metric": metric("selector"), "target": target})
        }
        "pods" => {
            let average = or_zero(&field("targetAverageValue"));
            let target = target("AverageValue", [("averageValue", average), ("value", Value::Null)]);
            json!({"metric": metric("selector"), "target": target})
        }
        "external" => {
            let (value, average) = (field("targetValue"), field("targetAverageValue"));
            let kind = if value.is_null() { "AverageValue" } else { "Value" };
            let target = target(kind, [("value", value), ("averageValue", average)]);
            json!({"metric": metric("metricSelector"), "target": target})
        }
        _ => {
            let (utilization, average) = (field("targetAverageUtilization"), field("targetAverageValue"));
            let kind = if utilization.is_null() { "AverageValue" } else { "Utilization" };
            let target = target(kind, [("averageUtilization", utilization), ("averageValue", average)]);
            of([("name", field("name")), ("container", field("container")), ("target", target)])
        }
    }
}

fn current_to_v1(source: &str, from: &Value) -> Value {
    let (metric, current) = (&from["metric"], &from["current"]);
    let (name, selector) = (metric["name"].clone(), metric["selector"].clone());
    let (value, average) = (current["value"].clone(), current["averageValue"].clone());
    match source {
        "object" => of([
            ("target", from["describedObject"].clone()),
            ("metricName", name),
            ("currentValue", or_zero(&value)),
            ("selector", selector),
            ("averageValue", average),
        ]),
        "pods" => {
            of([("metricName", name), ("currentAverageValue", or_zero(&average)), ("selector", selector)])
        }
        "external" => of([
            ("metricName", name),
            ("metricSelector", selector),
            ("currentValue", or_zero(&value)),
            ("currentAverageValue", average),
        ]),
        _ => of([
            ("name", from["name"].clone()),
            ("currentAverageUtilization", current["averageUtilization"].clone()),
            ("currentAverageValue", or_zero(&average)),
            ("container", from["container"].clone()),
        ]),
    }
}

fn current_to_v2(source: &str, from: &Value) -> Value {
    let field = |name: &str| from[name].clone();
    let metric = |selector: &str| of([("name", field("metricName")), ("selector", field(selector))]);
    let value = || or_zero(&from["currentValue"]);
    let average = || or_zero(&from["currentAverageValue"]);
    match source {
        "object" => json!({
            "describedObject": field("target"), "metric": metric("selector"),
            "current": of([("value", value()), ("averageValue", field("averageValue"))]),
        }),
        "pods" => json!({"metric": metric("selector"), "current": {"averageValue": average()}}),
        "external" => json!({
            "metric": metric("metricSelector"),
            "current": of([("value", value()), ("averageValue", field("currentAverageValue"))]),
        }),
        _ => {
            let utilization = field("currentAverageUtilization");
            let current = of([("averageUtilization", utilization), ("averageValue", average())]);
            of([("name", field("name")), ("container", field("container")), ("current", current)])
        }
    }
}

fn is_zero(quantity: &Value) -> bool {
    quantity.as_str().is_none_or(|text| Quantity::parse_or_huge(text).is_some_and(Quantity::is_zero))
}

/// The behavior as Go prints its internal type, which has no names in JSON.
fn internal_behavior(behavior: &Value) -> Value {
    let rules = |rules: &Value| {
        if !rules.is_object() {
            return Value::Null;
        }
        let policies: Vec<Value> = list(&rules["policies"])
            .iter()
            .map(|it| json!({"Type": it["type"], "Value": it["value"], "PeriodSeconds": it["periodSeconds"]}))
            .collect();
        json!({
            "StabilizationWindowSeconds": rules["stabilizationWindowSeconds"],
            "SelectPolicy": rules["selectPolicy"],
            "Policies": if rules["policies"].is_array() { policies.into() } else { Value::Null },
            "Tolerance": rules["tolerance"],
        })
    };
    json!({"ScaleUp": rules(&behavior["scaleUp"]), "ScaleDown": rules(&behavior["scaleDown"])})
}

fn external_behavior(behavior: &Value) -> Value {
    let rules = |rules: &Value| {
        if !rules.is_object() {
            return Value::Null;
        }
        let policies: Vec<Value> = list(&rules["Policies"])
            .iter()
            .map(|it| json!({"type": it["Type"], "value": it["Value"], "periodSeconds": it["PeriodSeconds"]}))
            .collect();
        of([
            ("stabilizationWindowSeconds", rules["StabilizationWindowSeconds"].clone()),
            ("selectPolicy", rules["SelectPolicy"].clone()),
            ("policies", if rules["Policies"].is_array() { policies.into() } else { Value::Null }),
            ("tolerance", rules["Tolerance"].clone()),
        ])
    };
    of([("scaleUp", rules(&behavior["ScaleUp"])), ("scaleDown", rules(&behavior["ScaleDown"]))])
}

/// JSON as Go prints a struct of these annotations: its fields in their order, and escaped for HTML.
fn go_json(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, false);
    let escaped = [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];
    escaped.iter().fold(text, |text, (character, escape)| text.replace(*character, escape))
}

fn write(text: &mut String, value: &Value, is_map: bool) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            if !is_map {
                members.sort_by_key(|(name, _)| ORDER.iter().position(|known| known == name));
            }
            text.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(text, value, name == "matchLabels");
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(text, item, false);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_version_1_does_not_have_is_in_annotations() {
        let metrics = json!([
            {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "2"}}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}}},
        ]);
        let two = json!({
            "apiVersion": V2, "kind": KIND, "metadata": {"name": "a", "annotations": {"k": "v"}},
            "spec": {
                "maxReplicas": 1, "scaleTargetRef": {"kind": "b", "name": "c"}, "metrics": metrics,
                "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 2}]}},
            },
        });
        let two = decode(V2, KIND, &two).unwrap().unwrap().object;
        let mut object = two.clone();
        convert(&mut object, V1);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 5);
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(
            annotations[METRICS],
            r#"[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"2"}}]"#
        );
        let up = r#"{"StabilizationWindowSeconds":null,"SelectPolicy":null,"Policies":[{"Type":"Pods","Value":1,"PeriodSeconds":2}],"Tolerance":null}"#;
        assert_eq!(annotations[BEHAVIOR], format!(r#"{{"ScaleUp":{up},"ScaleDown":null}}"#));
        convert(&mut object, V2);
        assert_eq!(object, two);
    }

    #[test]
    fn annotations_that_make_no_sense_are_ignored() {
        let default = json!([
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
        ]);
        for nonsense in ["[", "{}", "[1]", r#"[{"type": 7}]"#] {
            let mut object = json!({
                "apiVersion": V1, "kind": KIND, "metadata": {"annotations": {METRICS: nonsense, BEHAVIOR: nonsense}}, "spec": {},
            });
            convert(&mut object, V2);
            assert_eq!(
                (&object["apiVersion"], &object["spec"]["metrics"]),
                (&json!(V2), &default),
                "{nonsense}"
            );
            assert_eq!(
                (&object["spec"]["behavior"], object["metadata"].get("annotations")),
                (&Value::Null, None)
            );
        }
    }
}
