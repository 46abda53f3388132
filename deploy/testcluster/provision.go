package testcluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// storageClass is the default class, whose claims Provision serves.
const (
	storageClass = "standard"
	provisioner  = "testcluster"
)

// Provision plays the storage driver until the cluster is stopped: it makes a
// default storage class, gives each claim of that class a volume, a folder of
// its own in the run's folder volumes, and grows the volume when its claim
// grows. Binding them is the real controller's work. It is called once.
func (c *Cluster) Provision(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	reclaim, expand, at := corev1.PersistentVolumeReclaimRetain, true, storagev1.VolumeBindingImmediate
	class := &storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: storageClass, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner:          provisioner,
		ReclaimPolicy:        &reclaim,
		AllowVolumeExpansion: &expand,
		VolumeBindingMode:    &at,
	}
	if _, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the storage class: %w", err)
	}
	watchClaims := func() (watch.Interface, error) {
		return client.CoreV1().PersistentVolumeClaims("").Watch(c.background, metav1.ListOptions{})
	}
	claims, err := watchClaims()
	if err != nil {
		return fmt.Errorf("watch the claims: %w", err)
	}
	driver := &storageDriver{client: client, folder: c.path("volumes")}
	c.workers.Go(func() {
		defer func() { claims.Stop() }()
		for {
			select {
			case <-c.background.Done():
				return
			case event, open := <-claims.ResultChan():
				if !open {
					// After half an hour the API server ends a watch, and a client
					// does where the server says nothing for a minute. A new one
					// begins with all claims that there are.
					claims.Stop()
					if Eventually(c.background, func() error {
						again, err := watchClaims()
						if err == nil {
							claims = again
						}
						return err
					}) != nil {
						return
					}
					continue
				}
				if claim, is := event.Object.(*corev1.PersistentVolumeClaim); is && event.Type != watch.Deleted {
					driver.serve(c.background, claim)
				}
			}
		}
	})
	return nil
}

// storageDriver does what a cluster's storage driver and its resizer do.
type storageDriver struct {
	client kubernetes.Interface
	folder string
}

// serve brings the claim one step on. What fails shows as an event at the
// claim, where a person looks for why it is pending.
func (d *storageDriver) serve(ctx context.Context, claim *corev1.PersistentVolumeClaim) {
	if claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName != storageClass {
		return
	}
	var err error
	if claim.Spec.VolumeName == "" {
		err = d.provision(ctx, claim)
	} else if claim.Status.Phase == corev1.ClaimBound {
		err = d.grow(ctx, claim)
	}
	if err != nil && ctx.Err() == nil {
		d.tell(ctx, claim, err)
	}
}

func (d *storageDriver) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	name := "pvc-" + string(claim.UID)
	folder := filepath.Join(d.folder, name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	// A pod's user must be able to write whatever group its volume gets.
	if err := os.Chmod(folder, 0o777); err != nil {
		return err
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      claim.Spec.Resources.Requests,
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			StorageClassName:              storageClass,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: folder}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
				{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpExists}}},
			}}},
		},
	}
	_, err := d.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// grow gives the volume, then the claim's status, the size that is asked for.
func (d *storageDriver) grow(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	want := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if got := claim.Status.Capacity[corev1.ResourceStorage]; want.Cmp(got) <= 0 {
		return nil
	}
	volume, err := d.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	volume.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: want}
	if _, err := d.client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{}); err != nil {
		return err
	}
	claim = claim.DeepCopy()
	claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: want}
	claim.Status.Conditions = nil
	_, err = d.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	return err
}

func (d *storageDriver) tell(ctx context.Context, claim *corev1.PersistentVolumeClaim, fault error) {
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: claim.Name + ".", Namespace: claim.Namespace},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
		Type:           corev1.EventTypeWarning,
		Reason:         "ProvisioningFailed",
		Message:        fault.Error(),
		Source:         corev1.EventSource{Component: provisioner},
	}
	// That telling fails too is told by nobody; the claim stays pending.
	_, _ = d.client.CoreV1().Events(claim.Namespace).Create(ctx, event, metav1.CreateOptions{})
}
