// libcurl for Swift. Its option setters are variadic, which Swift can't call: here is one function per type of
// argument, so that the option stays named in Swift. Function and context are set together, never half.
#pragma once
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

typedef size_t (*starling_write_fn)(char *bytes, size_t size, size_t count, void *context);
typedef int (*starling_socket_fn)(CURL *easy, curl_socket_t socket, int what, void *context, void *assigned);
typedef int (*starling_timer_fn)(CURLM *multi, long milliseconds, void *context);

static inline CURLcode easy_set_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode easy_set_string(CURL *easy, CURLoption option, const char *value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode easy_set_private(CURL *easy, void *context) {
    return curl_easy_setopt(easy, CURLOPT_PRIVATE, context);
}
static inline CURLcode easy_set_headers(CURL *easy, struct curl_slist *headers) {
    return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
}
static inline CURLcode easy_set_write(CURL *easy, starling_write_fn function, void *context) {
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, function);
    return curl_easy_setopt(easy, CURLOPT_WRITEDATA, context);
}
// The size goes first: libcurl copies as many bytes as it was told before.
static inline CURLcode easy_set_body(CURL *easy, const void *bytes, size_t count) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)count);
    return curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, bytes);
}
static inline long easy_get_status(CURL *easy) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}
static inline void *easy_get_private(CURL *easy) {
    char *context = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &context);
    return context;
}
static inline CURLMcode multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}
static inline CURLMcode multi_set_socket(CURLM *multi, starling_socket_fn function, void *context) {
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, function);
    return curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, context);
}
static inline CURLMcode multi_set_timer(CURLM *multi, starling_timer_fn function, void *context) {
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, function);
    return curl_multi_setopt(multi, CURLMOPT_TIMERDATA, context);
}
// CURLMsg keeps its result in a union.
static inline CURLcode message_result(const CURLMsg *message) { return message->data.result; }
