#pragma once
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

// curl_easy_setopt and its kin are variadic, which Swift can't call. One function per *argument type*, so
// that Swift code still names the option.
static inline CURLcode easy_set_long(CURL *easy, CURLoption option, long value) { return curl_easy_setopt(easy, option, value); }
static inline CURLcode easy_set_string(CURL *easy, CURLoption option, const char *value) { return curl_easy_setopt(easy, option, value); }
static inline CURLcode easy_set_pointer(CURL *easy, CURLoption option, void *value) { return curl_easy_setopt(easy, option, value); }
static inline CURLcode easy_set_headers(CURL *easy, struct curl_slist *lines) { return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, lines); }
// A function and its context are set as a pair.
static inline CURLcode easy_set_write(CURL *easy, size_t (*f)(char *, size_t, size_t, void *), void *context) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, f);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_WRITEDATA, context);
}
static inline CURLcode easy_set_header(CURL *easy, size_t (*f)(char *, size_t, size_t, void *), void *context) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, f);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_HEADERDATA, context);
}
// The size is set first, because COPYPOSTFIELDS reads it.
static inline CURLcode easy_set_body(CURL *easy, const void *bytes, size_t count) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)count);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, bytes);
}
// A POST whose body is read by a function. Without a way to rewind it, libcurl can't send a request again on its own
// when a connection that it had kept dies before the answer.
static inline CURLcode easy_set_upload(CURL *easy, size_t (*f)(char *, size_t, size_t, void *), void *context, size_t count) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)count);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, f);
    return curl_easy_setopt(easy, CURLOPT_READDATA, context);
}
// Seconds of the answer's Retry-After, which may be a date; 0: there is none.
static inline long long easy_get_retry_after(CURL *easy) {
    curl_off_t seconds = 0;
    return curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK ? (long long)seconds : 0;
}
static inline CURLcode easy_get_status(CURL *easy, long *status) { return curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status); }
static inline void *easy_get_private(CURL *easy) {
    char *context = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &context);
    return context;
}
static inline CURLMcode multi_set_long(CURLM *multi, CURLMoption option, long value) { return curl_multi_setopt(multi, option, value); }
static inline CURLMcode multi_set_socket(CURLM *multi, int (*f)(CURL *, curl_socket_t, int, void *, void *), void *context) {
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, f);
    return curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, context);
}
static inline CURLMcode multi_set_timer(CURLM *multi, int (*f)(CURLM *, long, void *), void *context) {
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, f);
    return curl_multi_setopt(multi, CURLMOPT_TIMERDATA, context);
}
// CURLMsg keeps its result in a union.
static inline CURLcode message_result(const CURLMsg *message) { return message->data.result; }
