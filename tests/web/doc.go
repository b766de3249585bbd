// Package web tests the page of mammactl web in Chromium.
package web
