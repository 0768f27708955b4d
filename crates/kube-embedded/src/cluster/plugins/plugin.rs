//! The admission plugins of kube-apiserver by name, and which of them are on.

use std::collections::BTreeSet;

/// An admission plugin that this server has. Its name is that in kube-apiserver's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    NamespaceAutoProvision,
    NamespaceLifecycle,
    NamespaceExists,
    LimitPodHardAntiAffinityTopology,
    LimitRanger,
    ServiceAccount,
    TaintNodesByCondition,
    AlwaysPullImages,
    PodSecurity,
    PodNodeSelector,
    Priority,
    DefaultTolerationSeconds,
    PodTolerationRestriction,
    ExtendedResourceToleration,
    DefaultStorageClass,
    StorageObjectInUseProtection,
    OwnerReferencesPermissionEnforcement,
    PersistentVolumeClaimResize,
    RuntimeClass,
    CertificateApproval,
    CertificateSigning,
    ClusterTrustBundleAttest,
    CertificateSubjectRestriction,
    DefaultIngressClass,
    DenyServiceExternalIPs,
    PodTopologyLabels,
    NodeDeclaredFeatureValidator,
    PodResizeValidator,
    MutatingAdmissionPolicy,
    MutatingAdmissionWebhook,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionWebhook,
    ResourceQuota,
    AlwaysDeny,
}

/// All plugins of kube-apiserver 1.37 in the order in which they run, with those that this server has.
const KNOWN: [(&str, Option<Plugin>); 39] = [
    ("AlwaysAdmit", None),
    ("NamespaceAutoProvision", Some(Plugin::NamespaceAutoProvision)),
    ("NamespaceLifecycle", Some(Plugin::NamespaceLifecycle)),
    ("NamespaceExists", Some(Plugin::NamespaceExists)),
    ("LimitPodHardAntiAffinityTopology", Some(Plugin::LimitPodHardAntiAffinityTopology)),
    ("LimitRanger", Some(Plugin::LimitRanger)),
    ("ServiceAccount", Some(Plugin::ServiceAccount)),
    ("NodeRestriction", None),
    ("TaintNodesByCondition", Some(Plugin::TaintNodesByCondition)),
    ("AlwaysPullImages", Some(Plugin::AlwaysPullImages)),
    ("ImagePolicyWebhook", None),
    ("PodSecurity", Some(Plugin::PodSecurity)),
    ("PodNodeSelector", Some(Plugin::PodNodeSelector)),
    ("Priority", Some(Plugin::Priority)),
    ("DefaultTolerationSeconds", Some(Plugin::DefaultTolerationSeconds)),
    ("PodTolerationRestriction", Some(Plugin::PodTolerationRestriction)),
    ("EventRateLimit", None),
    ("ExtendedResourceToleration", Some(Plugin::ExtendedResourceToleration)),
    ("DefaultStorageClass", Some(Plugin::DefaultStorageClass)),
    ("StorageObjectInUseProtection", Some(Plugin::StorageObjectInUseProtection)),
    ("PodGroupProtection", None),
    ("OwnerReferencesPermissionEnforcement", Some(Plugin::OwnerReferencesPermissionEnforcement)),
    ("PersistentVolumeClaimResize", Some(Plugin::PersistentVolumeClaimResize)),
    ("RuntimeClass", Some(Plugin::RuntimeClass)),
    ("CertificateApproval", Some(Plugin::CertificateApproval)),
    ("CertificateSigning", Some(Plugin::CertificateSigning)),
    ("ClusterTrustBundleAttest", Some(Plugin::ClusterTrustBundleAttest)),
    ("CertificateSubjectRestriction", Some(Plugin::CertificateSubjectRestriction)),
    ("DefaultIngressClass", Some(Plugin::DefaultIngressClass)),
    ("DenyServiceExternalIPs", Some(Plugin::DenyServiceExternalIPs)),
    ("PodTopologyLabels", Some(Plugin::PodTopologyLabels)),
    ("NodeDeclaredFeatureValidator", Some(Plugin::NodeDeclaredFeatureValidator)),
    ("PodResizeValidator", Some(Plugin::PodResizeValidator)),
    ("MutatingAdmissionPolicy", Some(Plugin::MutatingAdmissionPolicy)),
    ("MutatingAdmissionWebhook", Some(Plugin::MutatingAdmissionWebhook)),
    ("ValidatingAdmissionPolicy", Some(Plugin::ValidatingAdmissionPolicy)),
    ("ValidatingAdmissionWebhook", Some(Plugin::ValidatingAdmissionWebhook)),
    ("ResourceQuota", Some(Plugin::ResourceQuota)),
    ("AlwaysDeny", Some(Plugin::AlwaysDeny)),
];

/// The plugins that this server has and that are off unless they are enabled.
const OFF_BY_DEFAULT: [Plugin; 10] = [
    Plugin::NamespaceAutoProvision,
    Plugin::NamespaceExists,
    Plugin::LimitPodHardAntiAffinityTopology,
    Plugin::AlwaysPullImages,
    Plugin::PodNodeSelector,
    Plugin::PodTolerationRestriction,
    Plugin::ExtendedResourceToleration,
    Plugin::OwnerReferencesPermissionEnforcement,
    Plugin::DenyServiceExternalIPs,
    Plugin::AlwaysDeny,
];

/// Which plugins are on: kube-apiserver's default, changed by its two flags.
#[derive(Clone, Debug)]
pub(crate) struct Plugins {
    enabled: BTreeSet<&'static str>,
    disabled: BTreeSet<&'static str>,
    off: Vec<Plugin>,
}

impl Default for Plugins {
    fn default() -> Self {
        Self { enabled: BTreeSet::new(), disabled: BTreeSet::new(), off: OFF_BY_DEFAULT.to_vec() }
    }
}

impl Plugins {
    /// Whether a plugin is on.
    pub(crate) fn has(&self, plugin: Plugin) -> bool {
        !self.off.contains(&plugin)
    }

    /// Turns plugins on, as `--enable-admission-plugins` does. Returns the names of those that this server does not have.
    ///
    /// # Errors
    /// Fails in kube-apiserver's words if a plugin is unknown, or is disabled, too.
    pub(crate) fn enable<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<&'static str>, String> {
        let mut missing = Vec::new();
        for name in names {
            let (name, plugin) = known("enable-admission-plugins", name)?;
            self.enabled.insert(name);
            match plugin {
                Some(plugin) => self.off.retain(|off| *off != plugin),
                None => missing.push(name),
            }
        }
        self.check_overlap().map(|()| missing)
    }

    /// Turns plugins off, as `--disable-admission-plugins` does.
    ///
    /// # Errors
    /// Fails in kube-apiserver's words if a plugin is unknown, or is enabled, too.
    pub(crate) fn disable<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        for name in names {
            let (name, plugin) = known("disable-admission-plugins", name)?;
            self.disabled.insert(name);
            self.off.extend(plugin);
        }
        self.check_overlap()
    }

    fn check_overlap(&self) -> Result<(), String> {
        let both: Vec<_> = self.enabled.intersection(&self.disabled).copied().collect();
        if both.is_empty() {
            return Ok(());
        }
        let both = both.join(" ");
        Err(format!("[{both}] in enable-admission-plugins and disable-admission-plugins overlapped"))
    }
}

fn known(flag: &str, name: &str) -> Result<(&'static str, Option<Plugin>), String> {
    let found = KNOWN.iter().find(|(known, _)| *known == name);
    found.copied().ok_or_else(|| format!("{flag} plugin {name:?} is unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_its_name() {
        for (name, plugin) in KNOWN {
            assert!(plugin.is_none_or(|plugin| format!("{plugin:?}") == name), "{name}");
        }
    }

    #[test]
    fn flags_change_the_default() {
        let mut plugins = Plugins::default();
        assert!(plugins.has(Plugin::Priority));
        assert_eq!(plugins.disable(["Priority", "ServiceAccount"]), Ok(()));
        assert!(!plugins.has(Plugin::Priority) && plugins.has(Plugin::NamespaceLifecycle));
        assert_eq!(plugins.enable(["NamespaceLifecycle", "NodeRestriction"]), Ok(vec!["NodeRestriction"]));
        assert!(plugins.has(Plugin::NamespaceLifecycle));
    }

    #[test]
    fn unknown_names_and_contradictions_are_refused() {
        let unknown = "enable-admission-plugins plugin \"Magic\" is unknown";
        assert_eq!(Plugins::default().enable(["Magic"]), Err(unknown.to_owned()));
        let unknown = "disable-admission-plugins plugin \"\" is unknown";
        assert_eq!(Plugins::default().disable([""]), Err(unknown.to_owned()));
        let mut plugins = Plugins::default();
        plugins.enable(["Priority", "LimitRanger", "PodSecurity"]).unwrap();
        let both =
            "[LimitRanger Priority] in enable-admission-plugins and disable-admission-plugins overlapped";
        assert_eq!(plugins.disable(["Priority", "LimitRanger"]), Err(both.to_owned()));
    }
}
