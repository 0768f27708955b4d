//! Prints how the cluster was chosen, and asks it who we are: `cargo run -p kubeconfig --example whoami [CONTEXT]`.
#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::PostParams;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = kubeconfig::Options::default();
    if let Some(context) = std::env::args().nth(1) {
        options = options.context(context);
    }
    let cluster = options.load()?;
    print!("{}", cluster.report());
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client()?);
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).unwrap_or_default();
    println!("{:<11}{} {:?}", "you are", user.username.unwrap_or_default(), user.groups.unwrap_or_default());
    Ok(())
}
