{{- /* Refuses values that do not go together, each with a sentence that says what to do. */}}
{{- define "dm.check" -}}
{{- $owned := dict
  "data" "the volume is always at /data; see persistence"
  "listen" "the ports in the pod are fixed; see services"
  "git" "the image brings its git"
  "tls" "use tls.secretName"
  "auth" "use auth.mode"
  "insecure_anywhere" "use auth.insecureAnywhere"
  "upgrade_format" "use upgrade.accept"
  "htpasswd" "use auth.users or auth.existingSecret"
  "tokens" "use auth.tokens or auth.existingSecret"
  "groups" "use auth.groups"
  "hub" "use jupyterhub.url, .service and .caConfigMap"
  "kubernetes" "use kubernetes.enabled, .teams and .filesURL" }}
{{- range $key, $instead := $owned }}
{{- if hasKey $.Values.config $key }}
{{- fail (printf "config.%s is set by the chart itself: %s" $key $instead) }}
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if hasPrefix "DM_" .name }}
{{- fail (printf "extraEnv sets %s, an option of the server: set it in config by its key in docs/configuration.md" .name) }}
{{- end }}
{{- end }}
{{- if and (include "dm.insecure" .) (not .Values.auth.insecureAnywhere) }}
{{- fail "auth.mode is insecure-pnda, which lets everybody who reaches the server act as anybody: set auth.insecureAnywhere=true if that is meant" }}
{{- end }}
{{- if and .Values.auth.existingSecret (or .Values.auth.users .Values.auth.tokens) }}
{{- fail "auth.existingSecret is given, so auth.users and auth.tokens would not be used: put them into that Secret" }}
{{- end }}
{{- with .Values.ingress }}
{{- if and .enabled (not (or .hosts.packages .hosts.manager .hosts.git)) }}
{{- fail "ingress.enabled needs a host name in at least one of ingress.hosts.packages, .manager and .git" }}
{{- end }}
{{- end }}
{{- range $group, $team := .Values.kubernetes.teams }}
{{- if eq $team.namespace $.Release.Namespace }}
{{- fail (printf "kubernetes.teams.%s.namespace is that of the server: whoever writes a job could read its passwords and its record there; give the team a namespace of its own" $group) }}
{{- end }}
{{- end }}
{{- if and .Values.kubernetes.enabled (not .Values.kubernetes.teams) }}
{{- fail "kubernetes.enabled needs kubernetes.teams: nobody else may run anything" }}
{{- end }}
{{- if and .Values.kubernetes.enabled (not (((.Values.config).spark).images)) }}
{{- fail "kubernetes.enabled needs config.spark.images, such as {\"4.0.4\": registry.example.org/spark:4.0.4}" }}
{{- end }}
{{- $names := list .Values.services.packages.name .Values.services.manager.name .Values.services.git.name }}
{{- if and .Values.services.packages.alias (eq .Values.services.packages.name "package-repository") }}
{{- $names = append $names "pnda-package-repository" }}
{{- end }}
{{- if ne (len $names) (len (uniq $names)) }}
{{- fail (printf "two Services have one name (services.*.name and the name that services.packages.alias adds): %s" (join ", " $names)) }}
{{- end }}
{{- $hosts := compact (list .Values.ingress.hosts.packages .Values.ingress.hosts.manager .Values.ingress.hosts.git) }}
{{- if ne (len $hosts) (len (uniq $hosts)) }}
{{- fail (printf "each Service needs a host of its own, because paths of two mean different things: ingress.hosts has %s" (join ", " $hosts)) }}
{{- end }}
{{- end }}

{{- /* The server's configuration file: what the chart knows, and the value config over it. */}}
{{- define "dm.config" -}}
{{- $c := dict
  "data" "/data"
  "listen" (dict "packages" ":8888" "manager" ":5000" "git" ":8099")
  "public" (dict "manager" (include "dm.public" .))
  "auth" .Values.auth.mode
  "groups" .Values.auth.groups }}
{{- if include "dm.insecure" . }}
{{- $_ := set $c "insecure_anywhere" true }}
{{- else }}
{{- $_ := set $c "htpasswd" "/etc/deployment-manager/auth/htpasswd" }}
{{- $_ := set $c "tokens" "/etc/deployment-manager/auth/tokens" }}
{{- end }}
{{- if .Values.upgrade.accept }}
{{- $_ := set $c "upgrade_format" true }}
{{- end }}
{{- with .Values.jupyterhub }}
{{- if .url }}
{{- $hub := dict "url" .url "service" .service "reserved" .reserved }}
{{- if .caConfigMap }}
{{- $_ := set $hub "ca" "/etc/deployment-manager/hub-ca/ca.crt" }}
{{- end }}
{{- $_ := set $c "hub" $hub }}
{{- end }}
{{- end }}
{{- if .Values.kubernetes.enabled }}
{{- $teams := dict }}
{{- range $group, $team := .Values.kubernetes.teams }}
{{- $_ := set $teams $group (dict "namespace" $team.namespace "serviceAccount" ($team.serviceAccount | default "pnda-driver") "images" $team.images "pullSecrets" ($team.pullSecrets | default list)) }}
{{- end }}
{{- $service := printf "%s://%s.%s.svc:%v" (include "dm.scheme" .) .Values.services.manager.name .Release.Namespace .Values.services.manager.port }}
{{- $_ := set $c "kubernetes" (dict "enabled" true "teams" $teams "files_url" (.Values.kubernetes.filesURL | default $service)) }}
{{- end }}
{{- if .Values.tls.secretName }}
{{- $_ := set $c "tls" (dict "cert" "/etc/deployment-manager/tls/tls.crt" "key" "/etc/deployment-manager/tls/tls.key") }}
{{- end }}
{{- if ne .Values.auth.mode "strict" }}{{- /* there the server does not look at them, and a change of them need not restart it */}}
{{- $_ := set $c "hosts" (concat (include "dm.hosts" . | fromJsonArray) (.Values.config.hosts | default list) | uniq) }}
{{- end }}
{{- mergeOverwrite $c (omit (deepCopy .Values.config) "hosts") | toYaml }}
{{- end }}

{{- /* By which names clients reach the server, as a JSON list: its Services from this and other namespaces, and its Ingress. */}}
{{- define "dm.hosts" -}}
{{- $names := list }}
{{- $services := list .Values.services.packages.name .Values.services.manager.name .Values.services.git.name }}
{{- if .Values.services.packages.alias }}
{{- $services = append $services "pnda-package-repository" }}
{{- end }}
{{- $in := .Release.Namespace }}
{{- range $services }}
{{- $names = concat $names (list . (printf "%s.%s" . $in) (printf "%s.%s.svc" . $in) (printf "%s.%s.svc.cluster.local" . $in)) }}
{{- end }}
{{- with .Values.ingress }}
{{- if .enabled }}
{{- $names = concat $names (compact (list .hosts.packages .hosts.manager .hosts.git)) }}
{{- end }}
{{- end }}
{{- $names | toJson }}
{{- end }}
