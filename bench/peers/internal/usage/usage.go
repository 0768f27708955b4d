// Package usage is what the command reads of a process; see src/usage.rs.
package usage

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Sample is the cost of a client that has synced.
type Sample struct {
	Objects        int     `json:"objects"`
	CPUSeconds     float64 `json:"cpu_seconds"`
	WallSeconds    float64 `json:"wall_seconds"`
	ResidentBefore int64   `json:"resident_before"`
	ResidentAfter  int64   `json:"resident_after"`
	Peak           int64   `json:"peak"`
	LiveHeap       uint64  `json:"live_heap"`
}

// Start is the usage before a client is created.
type Start struct {
	resident int64
	cpu      float64
	at       time.Time
}

// Now takes the usage before a client is created.
func Now() (Start, error) {
	resident, err := memory("VmRSS")
	if err != nil {
		return Start{}, err
	}
	cpu, err := CPUSeconds()
	return Start{resident, cpu, time.Now()}, err
}

// Synced takes the sample of a client that has just synced. The number of objects is left to the caller.
func (s Start) Synced() (result Sample, err error) {
	result.ResidentBefore = s.resident
	result.WallSeconds = time.Since(s.at).Seconds()
	cpu, err := CPUSeconds()
	if err != nil {
		return result, err
	}
	result.CPUSeconds = cpu - s.cpu
	time.Sleep(time.Second)
	// Only the live heap; the collector keeps pages that it may need again.
	runtime.GC()
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	result.LiveHeap = heap.HeapAlloc
	if result.ResidentAfter, err = memory("VmRSS"); err != nil {
		return result, err
	}
	result.Peak, err = memory("VmHWM")
	return result, err
}

// CPUSeconds returns the user and system time of this process.
func CPUSeconds() (float64, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime), nil
}

// memory returns a field of /proc/self/status in bytes.
func memory(field string) (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, field+":"); found {
			var kilobytes int64
			if _, err := fmt.Sscanf(strings.TrimSpace(value), "%d kB", &kilobytes); err != nil {
				return 0, fmt.Errorf("%s in /proc/self/status: %w", field, err)
			}
			return kilobytes * 1024, nil
		}
	}
	return 0, fmt.Errorf("no %s in /proc/self/status", field)
}
