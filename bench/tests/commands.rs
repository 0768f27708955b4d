//! Runs the commands as a user does, with few objects.

use std::process::Command;

fn bench(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Returns the first cells of the table's rows.
fn clients(table: &str) -> Vec<&str> {
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    cells.map(str::trim).filter(|cell| !cell.starts_with('-') && *cell != "client").collect()
}

#[test]
fn sync_compares_the_clients_on_the_embedded_server() {
    let rows = "raw,informer,informer-skipping,informer-compact,informer-compact-skipping,informer-dynamic,runtime,runtime-stripped,runtime-dynamic,runtime-pages";
    let table = bench(&["sync", "--objects", "60", "--runs", "1", "--clients", rows]);
    assert!(table.starts_with("60 Blogs of 9"), "{table}");
    assert_eq!(
        clients(&table),
        [
            "raw transport",
            "kube-informer, typed",
            "kube-informer, typed, last-applied skipped",
            "kube-informer, compact",
            "kube-informer, compact, last-applied skipped",
            "kube-informer, dynamic",
            "kube-runtime, typed",
            "kube-runtime, typed, managedFields cleared",
            "kube-runtime, dynamic",
            "kube-runtime, typed, list in pages (its default)",
        ]
    );
}

#[test]
fn churn_compares_both_engines_in_every_scenario() {
    let table = bench(&["churn", "--objects", "50", "--updates", "200", "--runs", "1"]);
    assert_eq!(
        clients(&table),
        ["kube-informer, typed", "kube-informer, compact", "kube-runtime, typed"].repeat(5),
        "{table}"
    );
}

#[test]
fn relist_compares_both_engines() {
    for kind in ["blogs", "pods"] {
        let table = bench(&["relist", "--type", kind, "--objects", "300", "--runs", "1"]);
        assert_eq!(clients(&table).len(), 4, "{table}");
    }
}

#[test]
fn an_unknown_server_is_refused_with_the_choices() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["sync", "--server", "/no/such/file"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("neither `embedded`, `real` nor the path of a kubeconfig"), "{error}");
}

#[test]
fn api_measures_the_server_itself() {
    let table = bench(&["api", "--creates", "200", "--objects", "300", "--watchers", "20", "--seconds", "1"]);
    for what in ["start to the first answer", "creates, over TLS, with a data folder", "300 Blogs in memory"]
    {
        assert!(table.contains(what), "{table}");
    }
}

#[test]
fn controller_compares_the_libraries_in_every_scenario() {
    // Leadership takes as long as a lease; `a_killed_leader_is_replaced` of the end-to-end tests covers it.
    let table = bench(&[
        "controller",
        "--clients=controller,runtime",
        "--scenarios=start,writes,quiet,timers",
        "--objects=1000",
        "--waiting=500",
        "--seconds=1",
        "--runs=1",
    ]);
    let rows =
        |library: &str| table.lines().filter(|line| line.starts_with(&format!("| {library} "))).count();
    assert_eq!([rows("kube-controller"), rows("kube-runtime")], [4, 4], "{table}");
}

#[test]
fn cel_evaluates_each_rule_with_our_engine_and_kube_cel() {
    let table = bench(&["cel", "--clients=k8s-cel,kube-cel", "--seconds=0.01", "--runs=1"]);
    let row =
        |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{table}"));
    assert!(row("| k8s-cel ").starts_with("| k8s-cel  |    20 |"), "{table}");
    row("| kube-cel ");
    row("| sidecar: hosts are namespace/name, ports are known ");
}
