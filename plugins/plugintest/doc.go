// Package plugintest holds the contract that every plugin must pass. A plugin's
// test calls Run with a Harness that makes the plugin and says what its
// components look like.
//
// Imports: dm and the standard library.
package plugintest
