// What is embedded is what lies in server/page, byte for byte.
#include "server/page/assets.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace tillbridge::page {
namespace {

std::string read(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

TEST(PageAssets, AreTheFilesThemselves) {
  std::set<std::string_view> tags;
  std::size_t files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(TILLBRIDGE_SOURCE_DIR "/server/page")) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".js" && extension != ".css" && extension != ".html" && extension != ".svg")
      continue;
    ++files;
    const Asset* asset = find("/" + entry.path().filename().string());
    ASSERT_NE(asset, nullptr) << entry.path() << " is not listed in server/page/CMakeLists.txt";
    EXPECT_EQ(asset->content, read(entry.path())) << entry.path();
    EXPECT_TRUE(asset->etag.size() == 34 && asset->etag.front() == '"' && asset->etag.back() == '"')
        << asset->etag;
    EXPECT_TRUE(tags.insert(asset->etag).second) << entry.path() << " has the ETag of another file";
  }
  EXPECT_GT(files, 20U);
}

TEST(PageAssets, AreFoundByTheirExactPathOnly) {
  EXPECT_EQ(find("/"), &index());
  EXPECT_EQ(find("/index.html"), &index());
  EXPECT_EQ(index().content_type, "text/html; charset=utf-8");
  EXPECT_EQ(find("/app.js")->content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(find("/icon.svg")->content_type, "image/svg+xml");
  for (const char* path : {"", "app.js", "/APP.JS", "/app.js?x", "//app.js", "/../page/app.js",
                           "/%61pp.js", "/assets.hpp", "/CMakeLists.txt"}) {
    EXPECT_EQ(find(path), nullptr) << path;
  }
}

}  // namespace
}  // namespace tillbridge::page
