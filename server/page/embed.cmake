# Writes a .cpp that holds files as bytes: cmake -DOUTPUT=assets.cpp -DFOLDER=server/page -DNAMES=index.html,app.js -P embed.cmake
# No other tool, so that the page needs no build step and a build needs no node.
cmake_minimum_required(VERSION 3.25)

set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_svg "image/svg+xml")

string(REPLACE "," ";" names "${NAMES}")
set(arrays "")
set(rows "")
set(number 0)
foreach(name IN LISTS names)
  file(READ "${FOLDER}/${name}" hex HEX)
  file(SHA256 "${FOLDER}/${name}" hash)
  string(SUBSTRING "${hash}" 0 32 tag)
  string(REGEX MATCH "[a-z]+$" extension "${name}")
  if(NOT DEFINED type_${extension})
    message(FATAL_ERROR "server/page/${name}: embed.cmake knows no content type for .${extension}")
  endif()
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  if(size EQUAL 0)
    message(FATAL_ERROR "server/page/${name} is empty")
  endif()
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}") # compilers dislike lines of a megabyte
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "// ${name}\nconstexpr unsigned char bytes_${number}[] = {\n${bytes}};\n")
  string(APPEND rows "    {\"/${name}\", \"${type_${extension}}\", \"\\\"${tag}\\\"\", text(bytes_${number})},\n")
  math(EXPR number "${number} + 1")
endforeach()

file(WRITE "${OUTPUT}.new" "// Made by server/page/embed.cmake from the files beside it.
#include \"server/page/assets.hpp\"

#include <array>
#include <cstddef>

namespace tillbridge::page {
namespace {

${arrays}
template <std::size_t n>
std::string_view text(const unsigned char (&bytes)[n]) {
  return {reinterpret_cast<const char*>(bytes), n};
}

const std::array<Asset, ${number}>& assets() {
  static const std::array<Asset, ${number}> all{{
${rows}  }};
  return all;
}

}  // namespace

const Asset* find(std::string_view path) {
  if (path == \"/\") return &index();
  for (const Asset& asset : assets()) {
    if (asset.path == path) return &asset;
  }
  return nullptr;
}

const Asset& index() {
  static const Asset* const asset = find(\"/index.html\");
  return *asset;
}

}  // namespace tillbridge::page
")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
