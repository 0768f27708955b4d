//! HorizontalPodAutoscalers, written in one of their versions and read in the other.

use anyhow::{Context as _, Result};
use e2e::{
    Cluster,
    http::{APPLY_PATCH, Http, MERGE_PATCH},
};
use serde_json::{Value, json};

e2e::on_each_cluster! {
    version_2_in_version_1 [NoControllers], version_1_in_version_2, managers [NoControllers], watches [NoControllers],
}

const ANNOTATION: &str = "autoscaling.alpha.kubernetes.io";

/// The autoscalers of a test's namespace.
struct Autoscalers {
    http: Http,
    v1: String,
    v2: String,
}

fn autoscalers(cluster: &Cluster) -> Autoscalers {
    let path = |version: &str| {
        format!("/apis/autoscaling/{version}/namespaces/{}/horizontalpodautoscalers", cluster.namespace())
    };
    Autoscalers { http: cluster.admin(), v1: path("v1"), v2: path("v2") }
}

fn autoscaler(version: &str, name: &str, more: &Value) -> Value {
    let mut spec = json!({"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}});
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    json!({
        "apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name}, "spec": spec,
    })
}

fn all_metrics() -> Value {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "p"});
    json!([
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        {"type": "Pods", "pods": {
            "metric": {"name": "m", "selector": {"matchLabels": {"type": "b", "name": "a"}}},
            "target": {"type": "AverageValue", "averageValue": "100m"},
        }},
        {"type": "Object", "object": {
            "describedObject": &pod, "metric": {"name": "o"}, "target": {"type": "Value", "value": "5"},
        }},
        {"type": "Object", "object": {
            "describedObject": &pod, "metric": {"name": "p"}, "target": {"type": "AverageValue", "averageValue": "5"},
        }},
        {"type": "External", "external": {
            "metric": {"name": "e", "selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}},
            "target": {"type": "AverageValue", "averageValue": "7"},
        }},
        {"type": "ContainerResource", "containerResource": {
            "name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 5},
        }},
    ])
}

async fn version_2_in_version_1(cluster: Cluster) -> Result<()> {
    let Autoscalers { http, v1, v2 } = autoscalers(&cluster);
    let spec = json!({"metrics": all_metrics(), "behavior": {"scaleDown": {"tolerance": "0.1"}}});
    let mut given = autoscaler("v2", "a", &spec);
    given["metadata"]["annotations"] = json!({"k": "v"});
    let made = http.post(&v2, &given).await?.code(201)?;
    assert_eq!(made["metadata"]["annotations"], json!({"k": "v"}));
    let status = json!({"status": {
        "currentReplicas": 1, "desiredReplicas": 2,
        "conditions": [{
            "type": "A", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z", "reason": "r", "message": "a < b",
        }],
        "currentMetrics": [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 5, "averageValue": "10m"}}},
            {"type": "Pods", "pods": {"metric": {"name": "m"}, "current": {"averageValue": "3"}}},
            {"type": "Object", "object": {
                "metric": {"name": "m"}, "current": {"value": "3"}, "describedObject": {"kind": "Pod", "name": "p"},
            }},
            {"type": "External", "external": {"metric": {"name": "m"}, "current": {"value": "1", "averageValue": "3"}}},
            {"type": "ContainerResource", "containerResource": {
                "name": "cpu", "container": "c", "current": {"averageValue": "3"},
            }},
        ],
    }});
    http.patch(&format!("{v2}/a/status"), MERGE_PATCH, &status).await?.code(200)?;
    let one = http.get(&format!("{v1}/a")).await?.code(200)?;
    let behavior = r#"{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":15},{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":null},"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Max","Policies":[{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":"100m"}}"#;
    let metrics = r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}},{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"100m","selector":{"matchLabels":{"name":"a","type":"b"}}}},{"type":"Object","object":{"target":{"kind":"Pod","name":"p","apiVersion":"v1"},"metricName":"o","targetValue":"5"}},{"type":"Object","object":{"target":{"kind":"Pod","name":"p","apiVersion":"v1"},"metricName":"p","targetValue":"0","averageValue":"5"}},{"type":"External","external":{"metricName":"e","metricSelector":{"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]},"targetAverageValue":"7"}},{"type":"ContainerResource","containerResource":{"name":"cpu","targetAverageUtilization":5,"container":"c"}}]"#;
    let current = r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":5,"currentAverageValue":"10m"}},{"type":"Pods","pods":{"metricName":"m","currentAverageValue":"3"}},{"type":"Object","object":{"target":{"kind":"Pod","name":"p"},"metricName":"m","currentValue":"3"}},{"type":"External","external":{"metricName":"m","currentValue":"1","currentAverageValue":"3"}},{"type":"ContainerResource","containerResource":{"name":"cpu","currentAverageValue":"3","container":"c"}}]"#;
    let conditions = r#"[{"type":"A","status":"True","lastTransitionTime":"2020-01-01T00:00:00Z","reason":"r","message":"a \u003c b"}]"#;
    assert_eq!(
        one["metadata"]["annotations"],
        json!({
            "k": "v", format!("{ANNOTATION}/behavior"): behavior, format!("{ANNOTATION}/metrics"): metrics,
            format!("{ANNOTATION}/current-metrics"): current, format!("{ANNOTATION}/conditions"): conditions,
        })
    );
    let mut expected =
        autoscaler("v1", "a", &json!({"targetCPUUtilizationPercentage": 50, "minReplicas": 1}));
    assert_eq!(one["spec"], expected["spec"].take());
    assert_eq!(
        one["status"],
        json!({"currentReplicas": 1, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 5})
    );
    // A write of what was read in version 1 loses nothing.
    let two = http.get(&format!("{v2}/a")).await?.code(200)?;
    let mut written = one.clone();
    written["spec"]["maxReplicas"] = 4.into();
    http.put(&format!("{v1}/a"), &written).await?.code(200)?;
    let after = http.get(&format!("{v2}/a")).await?.code(200)?;
    // The metric that version 1 has comes last.
    let mut metrics = two["spec"]["metrics"].as_array().context("metrics")?.clone();
    metrics.rotate_left(1);
    assert_eq!((&after["spec"]["metrics"], &after["spec"]["maxReplicas"]), (&json!(metrics), &json!(4)));
    assert_eq!((&after["spec"]["behavior"], &after["status"]), (&two["spec"]["behavior"], &two["status"]));
    assert_eq!(
        (&after["metadata"]["annotations"], &after["metadata"]["generation"]),
        (&json!({"k": "v"}), &json!(2))
    );
    Ok(())
}

async fn version_1_in_version_2(cluster: Cluster) -> Result<()> {
    let Autoscalers { http, v1, v2 } = autoscalers(&cluster);
    let utilization = |percent: u8| json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}]);
    // Without a target, both have the default.
    let made = http.post(&v1, &autoscaler("v1", "none", &json!({}))).await?.code(201)?;
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["targetCPUUtilizationPercentage"]),
        (&json!("autoscaling/v1"), &json!(80))
    );
    let two = http.get(&format!("{v2}/none")).await?.code(200)?;
    assert_eq!((&two["spec"]["metrics"], &two["apiVersion"]), (&utilization(80), &json!("autoscaling/v2")));
    // Annotations count, unless they make no sense.
    let mut given = autoscaler("v1", "some", &json!({"targetCPUUtilizationPercentage": 7}));
    given["metadata"]["annotations"] = json!({
        format!("{ANNOTATION}/metrics"): r#"[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"2"}}]"#,
        format!("{ANNOTATION}/behavior"): "nonsense",
    });
    let made = http.post(&v1, &given).await?.code(201)?;
    assert_eq!(
        made["metadata"]["annotations"],
        json!({format!("{ANNOTATION}/metrics"): r#"[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"2"}}]"#})
    );
    let two = http.get(&format!("{v2}/some")).await?.code(200)?;
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "2"}}});
    assert_eq!(two["spec"]["metrics"], json!([pods, utilization(7)[0]]));
    assert_eq!((two["spec"].get("behavior"), two["metadata"].get("annotations")), (None, None));
    // In version 2 these annotations are ignored.
    let ignored = json!({"metadata": {"annotations": {format!("{ANNOTATION}/metrics"): "[]", "k": "v"}}});
    let patched = http.patch(&format!("{v2}/some"), MERGE_PATCH, &ignored).await?.code(200)?;
    assert_eq!(patched["metadata"]["annotations"], json!({"k": "v"}));
    // A patch in version 1 changes one metric.
    let target = json!({"spec": {"targetCPUUtilizationPercentage": 9}});
    http.patch(&format!("{v1}/some"), MERGE_PATCH, &target).await?.code(200)?;
    let two = http.get(&format!("{v2}/some")).await?.code(200)?;
    assert_eq!(two["spec"]["metrics"], json!([pods, utilization(9)[0]]));
    let wrong = autoscaler("v1", "wrong", &json!({"targetCPUUtilizationPercentage": 0}));
    let message = "HorizontalPodAutoscaler.autoscaling \"wrong\" is invalid: spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0";
    http.post(&v1, &wrong).await?.refused(422, "Invalid", message)?;
    Ok(())
}

/// The managers of an object, with their versions and the fields of its `spec`.
fn spec_managers(object: &Value) -> Vec<Value> {
    let all = object["metadata"]["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().map(|it| json!([it["manager"], it["apiVersion"], it["fieldsV1"]["f:spec"]])).collect()
}

async fn managers(cluster: Cluster) -> Result<()> {
    let Autoscalers { http, v1, v2 } = autoscalers(&cluster);
    let applied = autoscaler("v2", "a", &json!({"metrics": all_metrics()}));
    let made = http.patch(&format!("{v2}/a?fieldManager=two"), APPLY_PATCH, &applied).await?.code(201)?;
    let two = json!({"f:maxReplicas": {}, "f:metrics": {}, "f:scaleTargetRef": {"f:apiVersion": {}, "f:kind": {}, "f:name": {}}});
    assert_eq!(spec_managers(&made), [json!(["two", "autoscaling/v2", two])]);
    // Who changes the metric in version 1 takes the metrics of version 2.
    let cpu = json!({"spec": {"targetCPUUtilizationPercentage": 33}});
    let patched = http.patch(&format!("{v1}/a?fieldManager=one"), MERGE_PATCH, &cpu).await?.code(200)?;
    let rest =
        json!({"f:maxReplicas": {}, "f:scaleTargetRef": {"f:apiVersion": {}, "f:kind": {}, "f:name": {}}});
    let one = json!({"f:targetCPUUtilizationPercentage": {}});
    assert_eq!(
        spec_managers(&patched),
        [json!(["two", "autoscaling/v2", rest]), json!(["one", "autoscaling/v1", one])]
    );
    // And the other way round.
    let reply = http.patch(&format!("{v2}/a?fieldManager=two"), APPLY_PATCH, &applied).await?;
    assert_eq!(
        (reply.code, reply.message()),
        (
            409,
            "Apply failed with 1 conflict: conflict with \"one\" using autoscaling/v1: .spec.targetCPUUtilizationPercentage"
        )
    );
    let forced =
        http.patch(&format!("{v2}/a?fieldManager=two&force=true"), APPLY_PATCH, &applied).await?.code(200)?;
    assert_eq!(spec_managers(&forced), [json!(["two", "autoscaling/v2", two])]);
    // An apply in version 1.
    let applied = autoscaler("v1", "a", &json!({"maxReplicas": 3, "minReplicas": 2}));
    let both = http.patch(&format!("{v1}/a?fieldManager=one"), APPLY_PATCH, &applied).await?.code(200)?;
    assert_eq!(
        (&both["spec"]["minReplicas"], &both["spec"]["targetCPUUtilizationPercentage"]),
        (&json!(2), &json!(50))
    );
    let stored = http.get(&format!("{v2}/a")).await?.code(200)?;
    assert_eq!(stored["spec"]["metrics"].as_array().map(Vec::len), Some(7));
    Ok(())
}

async fn watches(cluster: Cluster) -> Result<()> {
    let Autoscalers { http, v1, v2 } = autoscalers(&cluster);
    let mut watch = http.watch(&format!("{v1}?watch=true")).await?;
    http.post(&v2, &autoscaler("v2", "a", &json!({}))).await?.code(201)?;
    let added = watch.expect("ADDED", "a").await?;
    assert_eq!(
        (&added["apiVersion"], &added["spec"]["targetCPUUtilizationPercentage"]),
        (&json!("autoscaling/v1"), &json!(80))
    );
    let list = http.get(&v1).await?.code(200)?;
    assert_eq!(list["items"][0]["spec"]["targetCPUUtilizationPercentage"], 80);
    let deleted = http.delete(&format!("{v1}/a")).await?;
    deleted.code(200)?;
    let last = watch.expect("DELETED", "a").await?;
    assert_eq!((&last["apiVersion"], last["spec"].get("metrics")), (&json!("autoscaling/v1"), None));
    Ok(())
}
