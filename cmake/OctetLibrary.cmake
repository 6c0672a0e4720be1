# The library: quant/ and lib/ on top of the kernels, one target octet::octet.
find_package(OpenBLAS REQUIRED)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
if(OCTET_SENTENCEPIECE)
  pkg_check_modules(sentencepiece REQUIRED IMPORTED_TARGET sentencepiece)
endif()

file(GLOB_RECURSE octet_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/*.cpp
     ${PROJECT_SOURCE_DIR}/quant/*.cpp)
add_library(octet ${octet_sources} $<TARGET_OBJECTS:octet_kernels>)
add_library(octet::octet ALIAS octet)
target_include_directories(
  octet
  PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
  PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_features(octet PUBLIC cxx_std_20)
target_compile_definitions(octet PRIVATE OCTET_SENTENCEPIECE=$<BOOL:${OCTET_SENTENCEPIECE}>
                                         OCTET_VERSION="${PROJECT_VERSION}")
target_link_libraries(
  octet PRIVATE Threads::Threads PkgConfig::pcre2 PkgConfig::utf8proc
                $<BUILD_INTERFACE:octet_flags> $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)
# Debian's OpenBLASConfig.cmake only sets variables.
target_include_directories(octet PRIVATE ${OpenBLAS_INCLUDE_DIRS})
target_link_libraries(octet PRIVATE ${OpenBLAS_LIBRARIES})
if(OCTET_SENTENCEPIECE)
  target_link_libraries(octet PRIVATE PkgConfig::sentencepiece)
endif()
