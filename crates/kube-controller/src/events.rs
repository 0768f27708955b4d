//! Events about objects.
