package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPodTrouble(t *testing.T) {
	t.Parallel()
	waits := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
		}}}}
	}
	crashed := waits("CrashLoopBackOff", "back-off 10s")
	crashed.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}
	for _, c := range []struct {
		name   string
		status corev1.PodStatus
		want   string
	}{
		{"runs", corev1.PodStatus{Phase: corev1.PodRunning}, ""},
		{"begins", waits("ContainerCreating", ""), ""},
		{"no node", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes are available: 1 Insufficient cpu.",
		}}}, "no node takes the pod p: 0/1 nodes are available: 1 Insufficient cpu."},
		{"no image", waits("ImagePullBackOff", `Back-off pulling image "x"`), `the container c of the pod p waits: ImagePullBackOff, Back-off pulling image "x"`},
		{"again and again", crashed, "the container c of the pod p waits: CrashLoopBackOff, exit code 137 (OOMKilled)"},
		{"ended ill", corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "no such\nfile"},
		}}}}, "the container c of the pod p ended: exit code 1: no such; file"},
		{"evicted", corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"}, "the pod p failed: Evicted"},
		{"ended well", corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{},
		}}}}, ""},
	} {
		if got := PodTrouble(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: c.status}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTeamAllows(t *testing.T) {
	t.Parallel()
	team := Team{Images: []string{"registry.example.org/spark:*", "own:1"}}
	for image, want := range map[string]bool{
		"registry.example.org/spark:4.0.4": true, "registry.example.org/sparky": false, "own:1": true, "own:12": false, "": false,
		"evil/registry.example.org/spark:4": false,
	} {
		if got := team.Allows(image); got != want {
			t.Errorf("Allows(%q) = %v, want %v", image, got, want)
		}
	}
}
