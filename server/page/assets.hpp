// The admin's web page, as bytes inside tillbridged: it needs no files at run time, and shows what
// this very binary was built with.
#pragma once

#include <string_view>

namespace tillbridge::page {

/// One file of the page. Everything points into the binary and lives as long as it does.
struct Asset {
  std::string_view path;          ///< what a browser asks for: "/app.js"
  std::string_view content_type;  ///< the whole header value: "text/javascript; charset=utf-8"
  /// Strong, with its quotes: the content's SHA-256, shortened. The same in every build of the same
  /// content.
  std::string_view etag;
  std::string_view content;
};

/// The asset of exactly this path (no query, no fragment, not decoded), or nullptr. "/" is the
/// index.
[[nodiscard]] const Asset* find(std::string_view path);

/// The page itself. What it expects of logins: GET /api/v1/me answers {"user", "role": "admin" or
/// "viewer", "csrf"}, or 401; each changing request carries that token as X-CSRF-Token. POST
/// /api/v1/login and /login/once need none. After a 401 it asks for a login. A one-time login link
/// is this page with the token in the fragment, which no browser sends anywhere:
/// "https://HOST:PORT/#once=TOKEN".
[[nodiscard]] const Asset& index();

/// Content-Security-Policy for every asset. Nothing comes from elsewhere, nothing is inline, and no
/// script may turn text into markup: names of sticks and tills are written by strangers.
inline constexpr std::string_view content_security_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' "
    "data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

/// Cache-Control for every asset: kept, but asked for again each time (the ETag answers with 304),
/// so that a page never runs with the scripts of an older tillbridged.
inline constexpr std::string_view cache_control = "no-cache";

}  // namespace tillbridge::page
