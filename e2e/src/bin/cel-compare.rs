//! Reads cases and answers, and prints what differs.
use std::io::BufRead;

fn lines(path: &str) -> impl Iterator<Item = serde_json::Value> {
    let file = std::fs::File::open(path).expect("file");
    std::io::BufReader::new(file)
        .split(b'\n')
        .map(|line| serde_json::from_slice(&line.expect("line")).expect("json"))
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (mut cases, mut wrong) = (0, 0);
    for (case, answer) in lines(&args[1]).zip(lines(&args[2])) {
        if answer.get("panic").is_some() {
            continue;
        }
        cases += 1;
        let found = e2e::cel::differences(&case, &answer);
        wrong += usize::from(!found.is_empty());
        for difference in found {
            println!("{difference}\n");
        }
    }
    println!("{cases} cases, {wrong} differ");
}
