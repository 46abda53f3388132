package dm_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestSecretKeys: the words of a key count, however it is spelled.
func TestSecretKeys(t *testing.T) {
	t.Parallel()
	secret := `password Password PASSWORD db_password dbPassword dbpassword DB-PASSWORD password2 user.password hadoop_manager_password
		passwd htpasswd mysqlPasswd passphrase sshPassphrase key_passphrase passcode
		pwd dbPwd db_pwd userpwd pw admin_pw pass db_pass userPass smtp-pass
		secret clientSecret client_secret secret_name mysecret secretKey secretkey AWSSecretAccessKey aws_secret_access_key shared-secret
		token Token accessToken access_token authtoken auth_token refreshToken id_token apitoken api_tokens tokens oauth2Token token_url
		X-Auth-Token bearer bearerAuth authorization Authorization jwt idJWT
		credential credentials awsCredentials dbcredentials creds service_creds cred
		apiKey api_key API-KEY apikey APIKey api.key openaiApiKey myapikey apiKeys api_keys apikeys
		privateKey private_key cluster_private_key PRIVATE-KEY privatekey rsaPrivateKey ssh_private_key_path
		accessKey access_key access_key_id awsaccesskey accountKey account_key storageKey signing_key encryptionKey encryption_key
		sshKey ssh_key tls_key sslKey masterKey sessionKey session_keys client_key hmac_key consumerKey subscription-key sas_key
		secretary_password basic_auth httpAuth basicAuth session_cookie auth-cookie passkey`
	for key := range strings.FieldsSeq(secret) {
		if !dm.IsSecret(key) {
			t.Errorf("%s is no secret, want it to be one", key)
		}
	}
	open := `keyboard key keys key_column keyColumn partition_key partitionKey primary_key primaryKey foreign_key sort_key row_key group_by_key
		rowkey groupkey public_key publicKey keyword keywords key_count keyspace key_serializer monkey donkey turkey hockey whiskey turnkey jockey
		tokenizer tokenize tokenized tokenizer_path detokenizer max_tokens maxTokens num_tokens token_count tokenCount n_tokens total_tokens
		token_limit prompt_tokens max_new_tokens tokens_per_second stop_tokens
		author authors authority authorName authenticated auth_mode auth auth_url authType oauth
		compass bypass passenger passengers pass_through low_pass high_pass band_pass first_pass passive passing past
		access access_log account accounts accountName client client_id clientId session session_timeout service service_name shared storage
		secretary private private_network bear bearing cookie_count cookies spreadsheet spwdx pwn power
		topic brokers kafka_brokers hosts port user username user_name bucket region id uuid hash checksum certificate cert tls_cert ca_cert
		name value title x limit rate window 键 ключ é _ - . 1 12_3`
	for key := range strings.FieldsSeq(open) {
		if dm.IsSecret(key) {
			t.Errorf("%s is a secret, want it to be none", key)
		}
	}
	if dm.IsSecret("") || !dm.IsSecret("api key") {
		t.Error("no key is a secret, or one with a space is none")
	}
}

// TestSecretTexts: some values are secrets under any key.
func TestSecretTexts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"amqp://guest:guest@rabbit:5672/":                               true,
		"postgresql://ana:pa%24s@db/flows?sslmode=require":              true,
		"redis://:pw@cache:6379/0":                                      true,
		"jdbc:mysql://root:x@h,h2/db":                                   true,
		"a list: http://h/ and https://u:p@h/":                          true,
		"jdbc:sqlserver://h:1433;user=sa;password=x;":                   true,
		"Server=h;Database=d;User Id=sa;Pwd = x":                        true,
		"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc==": true,
		"jdbc:postgresql://h/db?user=ana&password=x":                    true,
		"-----BEGIN RSA PRIVATE KEY-----\nMII":                          true,
		"-----BEGIN PRIVATE KEY-----\nMII":                              true,
		"dmt_8a5fe9c3_" + strings.Repeat("0f", 24):                      true,
		"http://h:8080/path@x":                                          false,
		"http://h:8080":                                                 false,
		"git@github.com:pnda/x.git":                                     false,
		"ssh://git@host:22/x":                                           false,
		"ana@example.com: hello":                                        false,
		"https://h/?q=a:b@c":                                            false,
		"kafka-0:9092,kafka-1:9092":                                     false,
		"the password is asked for":                                     false,
		"password=":                                                     false,
		"nopassword=1":                                                  false,
		"-----BEGIN CERTIFICATE-----\nMII":                              false,
		"dmt_8a5fe9c3":                                                  false,
		"":                                                              false,
		"SELECT key FROM t WHERE a=1;":                                  false,
		"https://user@host/":                                            false,
		"s3a://bucket/key:part@2024":                                    false,
		"hdfs://nn:8020/user/ana@REALM":                                 false,
		"12:30 at cafe://x":                                             false,
		"mongodb+srv://app:" + strings.Repeat("x", 100) + "@c.example/?retryWrites=true": true,
	} {
		if got := dm.HoldsSecret(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// TestOverridesWithNestedSecrets: at any depth, and what is told of one names it and
// does not hold it.
func TestOverridesWithNestedSecrets(t *testing.T) {
	t.Parallel()
	component := dm.Properties{}
	for key, value := range map[string]string{
		"topic": `"mine"`, "max_tokens": `12`, "exact": `1.50`, "nested": `{"a":[1,{"b":null}],"key":"k"}`, "url": `"http://h:80/"`,
		"apiKey": `"PLANTED"`, "db": `{"host":"h","password":"PLANTED"}`, "list": `[{"a":1},{"clientSecret":"PLANTED"}]`,
		"broker": `"amqp://u:PLANTED@h"`, "many": `["x","redis://:PLANTED@h"]`, "empty_token": `null`,
	} {
		component[key] = json.RawMessage(value)
	}
	given := dm.Overrides{"jupyter": {"report": component, "other": {}}, "oozie": {}}
	open, secret := given.WithoutSecrets()
	want := []string{
		"jupyter/report/apiKey", "jupyter/report/broker", "jupyter/report/db.password", "jupyter/report/empty_token",
		"jupyter/report/list.clientSecret", "jupyter/report/many",
	}
	if !slices.Equal(secret, want) {
		t.Errorf("got %v, want %v", secret, want)
	}
	kept := slices.Sorted(maps.Keys(open["jupyter"]["report"]))
	if !slices.Equal(kept, []string{"exact", "max_tokens", "nested", "topic", "url"}) || string(open["jupyter"]["report"]["exact"]) != "1.50" {
		t.Errorf("kept %v: %s", kept, open["jupyter"]["report"]["exact"])
	}
	text, err := json.Marshal(open)
	if err != nil || strings.Contains(string(text), "PLANTED") || strings.Contains(strings.Join(secret, " "), "PLANTED") {
		t.Errorf("a secret is kept: %s, %v, %v", text, secret, err)
	}
	if len(given["jupyter"]["report"]) != 11 {
		t.Error("what was given was changed")
	}
}

// TestReferencesAreNoSecrets: where a secret is may be told, what it is may not.
func TestReferencesAreNoSecrets(t *testing.T) {
	t.Parallel()
	p, err := dm.ParseProperties([]byte(`{"password": {"secretRef": "db/password"}, "token": {"secretRef": "db/token", "x": 1},
		"db": {"password": {"secretRef": "db/password"}}, "secret": {"secretRef": ""}}`))
	if err != nil {
		t.Fatal(err)
	}
	open, secret := dm.Overrides{"sparkStreaming": {"count": p}}.WithoutSecrets()
	if got := slices.Sorted(maps.Keys(open["sparkStreaming"]["count"])); !slices.Equal(got, []string{"password"}) {
		t.Errorf("kept %v, want only the reference", got)
	}
	want := []string{"sparkStreaming/count/db.password", "sparkStreaming/count/secret", "sparkStreaming/count/token"}
	if !slices.Equal(secret, want) {
		t.Errorf("left out %v, want %v", secret, want)
	}
}
