# The library: quant/ and lib/ on top of the kernels, one target octet::octet.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
# target=module: octet links to PkgConfig::target, and octetConfig.cmake makes it again for users.
set(octet_pkg_config_libraries openblas=openblas pcre2=libpcre2-8 utf8proc=libutf8proc)
if(OCTET_SENTENCEPIECE)
  list(APPEND octet_pkg_config_libraries sentencepiece=sentencepiece)
endif()

file(GLOB_RECURSE octet_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/*.cpp
     ${PROJECT_SOURCE_DIR}/quant/*.cpp)
list(FILTER octet_sources EXCLUDE REGEX "/lib/backends/cuda/")
if(OCTET_CUDA)
  list(FILTER octet_sources EXCLUDE REGEX "/no_cuda.cpp$")
  list(APPEND octet_sources $<TARGET_OBJECTS:octet_cuda>)
endif()
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
  octet PRIVATE Threads::Threads $<BUILD_INTERFACE:octet_flags>
                $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)
if(OCTET_CUDA STREQUAL "ON")
  target_link_libraries(octet PRIVATE CUDA::cudart_static)
endif()
foreach(library ${octet_pkg_config_libraries})
  string(REPLACE "=" ";" library ${library})
  list(GET library 0 name)
  list(GET library 1 module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET ${module})
  target_link_libraries(octet PRIVATE PkgConfig::${name})
endforeach()
