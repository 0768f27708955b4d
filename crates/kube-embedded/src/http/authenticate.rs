//! Identifies the user of a request by its bearer token.

use http::{HeaderMap, header};

use crate::cluster::Cluster;
use crate::user::User;

/// Returns the user of a request, who is anonymous without credentials. `None`: the credentials are not valid.
pub(crate) fn authenticate(cluster: &Cluster, headers: &HeaderMap) -> Option<User> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return (!cluster.options.no_anonymous).then(User::anonymous);
    };
    let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let audiences = cluster.authentication.audiences();
    let whose = cluster.authentication.whose(&cluster.store, cluster.clock.now(), token.trim(), audiences);
    whose.ok().map(|(user, _)| user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::cluster::Options;
    use crate::random::Random;
    use crate::store::Store;

    #[test]
    fn a_request_is_its_tokens_users() {
        let cluster = Cluster::new(
            Store::new(Clock::default()),
            Clock::default(),
            Random::default(),
            Options::default(),
        );
        let token = cluster.authentication.issue(&cluster.store, User::new("jane", &["devs"]));
        let user = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            authenticate(&cluster, &headers)
        };
        for good in [format!("Bearer {token}"), format!("bearer  {token}")] {
            assert_eq!(user(&good), Some(User::new("jane", &["devs"])));
        }
        for wrong in ["Bearer wrong", "Bearer a.b.c", "Bearer", "", &format!("Basic {token}"), &token] {
            assert_eq!(user(wrong), None, "{wrong}");
        }
        assert_eq!(authenticate(&cluster, &HeaderMap::new()), Some(User::anonymous()));
    }
}
