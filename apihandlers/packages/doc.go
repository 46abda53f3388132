// Package packages is PNDA's package repository API: list, download, upload
// and delete package archives. It promises PNDA's routes, codes and bodies,
// that an upload is never held in memory and that a download is the uploaded
// bytes. It may import dm and apihandlers.
package packages
