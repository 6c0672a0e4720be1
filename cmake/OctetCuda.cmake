# The CUDA backend: kernels/cuda/ and lib/backends/cuda/, as objects for the library.
if(NOT OCTET_CUDA)
  return()
endif()
if(OCTET_CUDA STREQUAL "ON")
  if(NOT CMAKE_CUDA_COMPILER)
    find_program(CMAKE_CUDA_COMPILER nvcc PATHS /usr/local/cuda/bin)
  endif()
  # T4; Orin; H100 and H200; PTX for what comes between and after.
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-virtual 87-real 90a-real)
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()

file(GLOB octet_cuda_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu)
file(GLOB octet_cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/backends/cuda/*.cpp)
add_library(octet_cuda OBJECT ${octet_cuda_sources} ${octet_cuda_kernels})
# CMake 3.25 knows nvcc no newer standard.
set_target_properties(octet_cuda PROPERTIES CUDA_STANDARD 17)
target_include_directories(octet_cuda PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
get_target_property(octet_warnings octet_flags INTERFACE_COMPILE_OPTIONS)
target_compile_options(octet_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${octet_warnings}>")

if(OCTET_CUDA STREQUAL "EMULATED")
  # The emulator's headers come first and stand for CUDA's own.
  set_source_files_properties(${octet_cuda_kernels} PROPERTIES LANGUAGE CXX)
  target_sources(octet_cuda PRIVATE ${PROJECT_SOURCE_DIR}/tests/cuda/emulator/emulator.cpp)
  target_compile_options(octet_cuda PRIVATE -x c++ -ffp-contract=off -Wno-unknown-pragmas)
  target_include_directories(octet_cuda BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/cuda/emulator)
  set(octet_cuda_architectures emulated)
else()
  # -fmad=false: an fma is where one is written, as in the CPU's kernels.
  target_compile_options(
    octet_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false --expt-relaxed-constexpr>)
  target_link_libraries(octet_cuda PRIVATE CUDA::cudart_static)
  string(REPLACE ";" " " octet_cuda_architectures "${CMAKE_CUDA_ARCHITECTURES}")
endif()
target_compile_definitions(octet_cuda
                           PRIVATE OCTET_CUDA_ARCHITECTURES="${octet_cuda_architectures}")
