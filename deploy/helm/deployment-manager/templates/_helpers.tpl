{{- /* Name of everything but the Services. A release may have a dot in its name, a part of a pod's host name not. */}}
{{- define "dm.fullname" -}}
{{- default (printf "%s-%s" .Release.Name .Chart.Name) .Values.fullnameOverride | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- /* Selectors can never change, so they hold nothing that a release or chart changes. A release may be called 123. */}}
{{- define "dm.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* Labels of objects. The pod has the selector's only: a new version of the chart alone is no reason to restart it. */}}
{{- define "dm.labels" -}}
{{ include "dm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: pnda
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "dm.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "dm.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "dm.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "dm.claim" -}}
{{- .Values.persistence.existingClaim | default (include "dm.fullname" .) -}}
{{- end }}

{{- define "dm.secret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-auth" (include "dm.fullname" .)) -}}
{{- end }}

{{- define "dm.insecure" -}}
{{- if eq .Values.auth.mode "insecure-pnda" }}true{{ end -}}
{{- end }}

{{- define "dm.scheme" -}}
{{- if .Values.tls.secretName }}https{{ else }}http{{ end -}}
{{- end }}

{{- /* Where people reach the deployment manager, for messages of the server. */}}
{{- define "dm.public" -}}
{{- if and .Values.ingress.enabled .Values.ingress.hosts.manager -}}
{{ if .Values.ingress.tlsSecretName }}https{{ else }}http{{ end }}://{{ .Values.ingress.hosts.manager }}
{{- else -}}
{{ include "dm.scheme" . }}://{{ .Values.services.manager.name }}:{{ .Values.services.manager.port }}
{{- end -}}
{{- end }}
